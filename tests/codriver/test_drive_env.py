"""Any Gymnasium environment is driven by a remote policy: single, and vectorised in each autoreset mode."""

from __future__ import annotations

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from codriver.errors import InvalidArgumentError, NotFoundError, SpecMismatchError  # noqa: E402
from codriver.gym import drive_env, observation_space_of, observation_spec_of, policy_for_env  # noqa: E402
from codriver.gym.spaces import action_space_of  # noqa: E402
from codriver.spec import check_observation_spec  # noqa: E402
from codriver.v1 import observation_pb2 as pb  # noqa: E402
from tests.codriver.loopback import Loopback  # noqa: E402


class Counting(gymnasium.Env):
    """Observes the standard driving tensors; its state says how far it is; ends after ``length`` steps."""

    def __init__(self, length=3, terminates=True, dtype=np.float32):
        from codriver import driving

        space = observation_space_of(driving.observation_spec())
        space.spaces["state"] = gymnasium.spaces.Box(-np.inf, np.inf, (10,), dtype)
        self.observation_space = space
        self.action_space = action_space_of(driving.action_spec())
        self.length, self.terminates, self.count = length, terminates, 0

    def _observe(self):
        state = np.full(10, self.count / 10, self.observation_space["state"].dtype)
        return {"bev_masks": np.zeros((15, 96, 96), np.uint8), "state": state}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action) and action[0] == pytest.approx(self.count / 10)
        self.count += 1
        over = self.count == self.length
        return self._observe(), 1.0, over and self.terminates, over and not self.terminates, {}


@pytest.fixture
def server(tmp_path):
    with Loopback(tmp_path / "s", second=0.5) as server:
        yield server


def rows(server):
    """What the server saw, by environment: (episode, step, kind, state, reward) of each row in order."""
    seen = {}
    for batch in server.batches:
        states = np.frombuffer(batch.tensors[1].data, np.float32).reshape(-1, 10)[:, 0]
        rewards = list(batch.reward) or [0.0] * len(batch.env)
        for env, *row in zip(
            batch.env, batch.episode, batch.step, batch.step_kind, states.round(2).tolist(), rewards
        ):
            seen.setdefault(env, []).append(tuple(row))
    return seen


def test_single(server):
    episodes = list(drive_env(Counting(), server.address, episodes=2, seed=3))
    assert [(e.env, e.total_reward, e.length, e.terminated) for e in episodes] == [(0, 3.0, 3, True)] * 2
    assert rows(server)[0][:4] == [
        (0, 0, pb.STEP_KIND_FIRST, 0.0, 0.0),
        (0, 1, pb.STEP_KIND_MID, pytest.approx(0.1), 1.0),
        (0, 2, pb.STEP_KIND_MID, pytest.approx(0.2), 1.0),
        (0, 3, pb.STEP_KIND_TERMINATED, pytest.approx(0.3), 1.0),
    ]


def test_float64_is_sent_as_float32(server):
    assert next(drive_env(Counting(dtype=np.float64, terminates=False), server.address)).terminated is False


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED"])
def test_vector(server, mode):
    modes = pytest.importorskip("gymnasium.vector").AutoresetMode
    makers = [lambda: Counting(3), lambda: Counting(5, terminates=False)]
    env = gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=getattr(modes, mode))
    episodes = list(drive_env(env, server.address, episodes=5))
    assert [(e.env, e.total_reward, e.length, e.terminated) for e in episodes[:2]] == [
        (0, 3, 3, True),
        (1, 5, 5, False),
    ]
    assert {(e.env, e.length, e.total_reward) for e in episodes} == {(0, 3, 3.0), (1, 5, 5.0)}
    for env_index, length, last in ((0, 3, pb.STEP_KIND_TERMINATED), (1, 5, pb.STEP_KIND_TRUNCATED)):
        middle = [(0, step, pb.STEP_KIND_MID, pytest.approx(step / 10), 1.0) for step in range(1, length)]
        expected = [
            (0, 0, pb.STEP_KIND_FIRST, 0.0, 0.0),
            *middle,
            (0, length, last, pytest.approx(length / 10), 1.0),
            (1, 0, pb.STEP_KIND_FIRST, 0.0, 0.0),
        ]
        assert rows(server)[env_index][: length + 2] == expected


def test_what_does_not_fit(server):
    with pytest.raises(NotFoundError, match="the server has echo"):
        policy_for_env(Counting(), server.address, policy="other")
    env = Counting()
    env.observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(0, 1, (9,), np.int32)})
    with pytest.raises(SpecMismatchError) as caught:
        policy_for_env(env, server.address)
    assert [violation.field for violation in caught.value.violations] == [
        "observation_space[bev_masks]",
        "observation_space[state]",
        "observation_space[state]",
    ]
    env = Counting()
    env.action_space = gymnasium.spaces.Discrete(3)
    with pytest.raises(SpecMismatchError, match="2 real numbers"):
        policy_for_env(env, server.address)
    env.action_space = gymnasium.spaces.Box(0, 1, (2,))
    with pytest.raises(SpecMismatchError, match="reaches from"):
        policy_for_env(env, server.address)


def test_specs_of_spaces():
    box = gymnasium.spaces.Box(-1, 1, (3,))
    spec = observation_spec_of(
        gymnasium.spaces.Dict({"a": box, "b": gymnasium.spaces.Box(0, 9, (2, 2), np.int64)})
    )
    check_observation_spec(spec)
    assert [tensor.name for tensor in spec.tensors] == ["a", "b"]
    assert observation_space_of(spec)["b"].dtype == np.int64
    assert observation_spec_of(box).tensors[0].name == "observation"
    with pytest.raises(InvalidArgumentError, match="Discrete"):
        observation_spec_of(gymnasium.spaces.Discrete(2))
    with pytest.raises(InvalidArgumentError, match="float16"):
        observation_spec_of(gymnasium.spaces.Box(0, 1, (1,), np.float16))
