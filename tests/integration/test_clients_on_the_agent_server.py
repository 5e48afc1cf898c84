"""The wheel's clients against the real agent server: what the protocol book promises, from a caller's chair."""

from __future__ import annotations

import asyncio

import gymnasium
import numpy as np
import pytest

from agent_server.limits import Limits
from agent_server.server import Options
from codriver.aio import AsyncAgentClient
from codriver.batch import BatchEncoder, decode_actions
from codriver.client import AgentClient
from codriver.errors import (
    AlreadyExistsError,
    FrameFailedError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    SessionLostError,
    SpecMismatchError,
    UnavailableError,
)
from codriver.gym import drive_env, observation_space_of
from codriver.gym.spaces import action_space_of
from codriver.policy import RemotePolicy
from codriver.v1 import action_pb2, observation_pb2, tensor_pb2
from tests.agent_server.conftest import ACTIONS, FIRST, MID, SPEC, ServerThread, make_policy

OPEN = {"observation_spec": SPEC, "action_spec": ACTIONS}
ENCODER = BatchEncoder(SPEC, ACTIONS)


def tensors(values):
    values = np.asarray(values, np.float32)
    state = np.stack([values, values * 10, values], axis=1)
    return {"masks": np.zeros((len(values), 2, 8, 8), np.uint8), "state": state}


def batch(step, value=0.5):
    return ENCODER.encode(
        tensors([value]), env=[0], episode=[0], step=[step], step_kind=[MID if step else FIRST], reward=[1.0]
    )


@pytest.fixture
def server(tmp_path):
    options = Options(listen=(f"unix:{tmp_path}/s",), threads=1, limits=Limits(max_message_bytes=100_000))
    server = ServerThread([make_policy(), make_policy("loud", gain=0.1)], options)
    yield server
    server.stop()


def test_remote_policy(server):
    with RemotePolicy(server.address, num_envs=3, policy="loud", **OPEN) as policy:
        for _ in range(3):
            assert policy.infer(tensors([1, 2, 3]))[:, 0] == pytest.approx([0.1, 0.2, 0.3])
        assert policy.last.value.tolist() == [10, 20, 30]
        assert policy.last_message.policy.policy_id == "loud"
        ended = policy.infer(
            tensors([1, 2, 3]), terminated=[True, False, False], truncated=[False, True, False]
        )
        assert ended[:, 0] == pytest.approx([0, 0, 0.3])
        policy.infer(tensors([1, 2, 3]))
        policy.reset([2])
        policy.infer(tensors([1, 2, 3]))
        assert policy.last.episode.tolist() == [1, 1, 1] and policy.last.step.tolist() == [1, 1, 0]


def test_a_row_that_the_policy_cannot_take(server):
    with RemotePolicy(server.address, num_envs=2, **OPEN) as policy:
        policy.infer(tensors([0.1, 0.2]))
        with pytest.raises(FrameFailedError) as caught:
            policy.infer(tensors([0.1, 200.0]))
        assert set(caught.value.rows) <= {0, 1} and caught.value.reason == "POLICY_FAILED"
        assert policy.infer(tensors([0.1, 0.2]))[:, 0] == pytest.approx([0.1, 0.2])


def test_vector_environment(server):
    class Line(gymnasium.Env):
        observation_space = observation_space_of(SPEC)
        action_space = action_space_of(ACTIONS)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.count = 0
            return {name: value[0] for name, value in tensors([0.0]).items()}, {}

        def step(self, action):
            assert action[0] == pytest.approx(self.count / 10)
            self.count += 1
            observation = {name: value[0] for name, value in tensors([self.count / 10]).items()}
            return observation, float(action[0]), self.count == 4, False, {}

    env = gymnasium.vector.SyncVectorEnv([Line] * 3)
    episodes = list(drive_env(env, server.address, episodes=6))
    assert [episode.total_reward for episode in episodes] == pytest.approx([0.6] * 6)


def test_reconnect_goes_on_where_it_was(server):
    with AgentClient(server.address) as client, client.open_session(**OPEN) as session:
        with session.drive() as stream:
            first = stream.step(batch(0))
            with pytest.raises(AlreadyExistsError, match="attached stream"):
                session.drive()
            assert stream.step(batch(1)).step[0] == 1
        stream = _attach_when_free(session)
        assert [(key.episode, key.step) for key in stream.state.attached.answered] == [(0, 1)]
        again = stream.step(batch(1))
        assert again.action == first.action and again.status[0] == action_pb2.ACTION_STATUS_OK
        assert stream.step(batch(2)).status[0] == action_pb2.ACTION_STATUS_OK
        with pytest.raises(FrameFailedError, match="send step 3"):
            decode_actions(stream.step(batch(7)), 2).raise_errors()
        assert session.close().frames_ok >= 3


def _attach_when_free(session):
    """The server notices the end of a stream a moment after its client."""
    for _ in range(200):
        try:
            return session.drive()
        except AlreadyExistsError:
            continue
    raise AssertionError("the old stream never ended")


def test_refusals_say_what_to_do(server):
    with AgentClient(server.address) as client:
        with pytest.raises(SpecMismatchError) as caught:
            client.open_session()
        assert "observation_spec.tensors[0].name" in [v.field for v in caught.value.violations]
        assert "GetServerInfo" in caught.value.hint
        with pytest.raises(NotFoundError, match="loud"):
            client.open_session(policy="nobody", **OPEN)
        with pytest.raises(InvalidArgumentError) as bad:
            client.open_session(num_envs=0, **OPEN)
        assert bad.value.field == "num_envs"
        session = client.open_session(**OPEN)
        oversized = observation_pb2.ObservationBatch(tensors=[tensor_pb2.TensorColumn(data=bytes(200_000))])
        with pytest.raises(ResourceExhaustedError):
            session.act(oversized)
        token, session.info.resume_token = session.info.resume_token, "guess"
        with pytest.raises(PermissionDeniedError):
            session.act(batch(0))
        session.info.resume_token = token
        session.close()
        with pytest.raises(SessionLostError, match="Open a new one"):
            session.act(batch(0))


def test_a_server_that_drains_and_one_that_restarts(server, tmp_path):
    client = AgentClient(server.address, timeout_s=20)
    session = client.open_session(**OPEN)
    stream = session.drive()
    stream.step(batch(0))
    server.stop()
    with pytest.raises(UnavailableError) as caught:
        stream.receive()
    assert caught.value.reason == "DRAINED" and stream.state.drain.reason == "the test is over"
    options = Options(listen=(f"unix:{tmp_path}/s",), threads=1)
    second = ServerThread([make_policy()], options)
    client.wait_ready()
    with pytest.raises(SessionLostError):
        session.drive()
    assert client.open_session(**OPEN).act(batch(0)).status[0] == action_pb2.ACTION_STATUS_OK
    client.close()
    second.stop()


def test_asyncio_twin(server):
    async def main():
        async with AsyncAgentClient(server.address) as client, await client.open_session(**OPEN) as session:
            stream = await session.drive()
            for step in range(3):
                answers = decode_actions(await stream.step(batch(step)), 2)
                assert answers.action[0, 0] == pytest.approx(0.5) and answers.value[0] == 5
            with pytest.raises(AlreadyExistsError):
                await session.act(batch(3))

    asyncio.run(main())
