"""The blocking client against a real server on a unix socket."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest

from codriver import driving
from codriver.batch import BatchEncoder, decode_actions
from codriver.client import AgentClient
from codriver.errors import (
    DeadlineExceededError,
    FrameFailedError,
    InvalidArgumentError,
    NotFiniteError,
    PermissionDeniedError,
    SessionLostError,
    SpecError,
    TensorError,
    UnavailableError,
)
from codriver.policy import RemotePolicy
from codriver.v1 import action_pb2, agent_service_pb2
from tests.codriver.loopback import Loopback

pytestmark = pytest.mark.compat
ENCODER = BatchEncoder(driving.observation_spec(), driving.action_spec())


def tensors(rows, first=0.5):
    state = np.zeros((rows, 10), np.float32)
    state[:, 0] = first
    return {"bev_masks": np.zeros((rows, 15, 96, 96), np.uint8), "state": state}


def batch(rows, step=0, **fields):
    kind = 1 if step == 0 else 2
    return ENCODER.encode(
        tensors(rows),
        env=range(rows),
        episode=[0] * rows,
        step=[step] * rows,
        step_kind=[kind] * rows,
        **fields,
    )


@pytest.fixture
def server(tmp_path):
    with Loopback(tmp_path / "s") as server:
        yield server


def test_drive_act_and_close(server):
    with AgentClient(server.address) as client, client.open_session(
        num_envs=3, client_name="test 1"
    ) as session:
        assert len(session.info.spec_hash) == 64
        stream = session.drive()
        for step in range(5):
            answers = decode_actions(stream.step(batch(3, step)), 2)
            assert answers.env.tolist() == [0, 1, 2] and answers.step.tolist() == [step] * 3
            assert answers.action[:, 0].tolist() == [0.5] * 3 and answers.action[0, 1] == step + 1
            assert answers.value is None
        stream.close()
        assert session.act(batch(1, 5)).action[0] == 0.5
        assert session.close().frames_ok == 16
        assert session.close() is None


def test_several_batches_in_flight(server):
    with AgentClient(server.address) as client, client.open_session(num_envs=1) as session:
        stream = session.drive()
        for step in range(20):
            stream.send(batch(1, step))
        assert [stream.receive().step[0] for _ in range(20)] == list(range(20))


def test_receive_times_out_and_the_stream_goes_on(tmp_path):
    with Loopback(tmp_path / "s", delay_s=0.4) as server, AgentClient(server.address) as client:
        stream = client.open_session().drive()
        stream.send(batch(1))
        with pytest.raises(DeadlineExceededError, match="actions for 0.05 s"):
            stream.receive(timeout_s=0.05)
        assert stream.receive(timeout_s=5).step[0] == 0
        with pytest.raises(DeadlineExceededError, match="GetServerInfo"):
            client.server_info(timeout_s=0.05)


def test_no_server(tmp_path):
    for address in (f"unix:{tmp_path}/nobody", _free_port()):
        with AgentClient(address, timeout_s=5) as client:
            begin = time.monotonic()
            with pytest.raises(UnavailableError, match="Is it running") as caught:
                client.server_info()
            assert address in str(caught.value) and time.monotonic() - begin < 5
            with pytest.raises(UnavailableError, match="no server answers"):
                client.wait_ready(0.2)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:0", "localhost:99999", "unix:", "http://a:1", "a:b"]
)
def test_bad_addresses(address):
    with pytest.raises(InvalidArgumentError, match="HOST:PORT"):
        AgentClient(address)


def test_server_goes_away_in_mid_stream(tmp_path):
    with AgentClient(f"unix:{tmp_path}/s", timeout_s=5) as client:
        with Loopback(tmp_path / "s"):
            stream = client.open_session().drive()
            stream.step(batch(1))
        with pytest.raises(UnavailableError) as caught:
            stream.receive()
        with pytest.raises(UnavailableError) as again:
            stream.send(batch(1, 1))
        assert again.value is caught.value


def test_drain_is_told(tmp_path):
    with Loopback(tmp_path / "s", drain=True) as server, AgentClient(server.address) as client:
        stream = client.open_session().drive()
        with pytest.raises(UnavailableError, match="maintenance") as caught:
            stream.receive()
        assert caught.value.reason == "DRAINED" and stream.state.drain.grace_ms == 10


def test_refusals(server):
    with AgentClient(server.address) as client:
        spec = driving.observation_spec()
        spec.tensors[0].palettes[2].levels = b"\x01\x01"
        with pytest.raises(SpecError) as caught:
            client.open_session(observation_spec=spec)
        assert caught.value.field == "observation_spec.tensors[0].palettes[2]"
        with pytest.raises(InvalidArgumentError, match="nonsense"):
            client.open_session(nonsense=1)
        session = client.open_session()
        session.info.resume_token = "guess"
        with pytest.raises(PermissionDeniedError):
            session.drive()
        session.info.session_id = "other"
        with pytest.raises(SessionLostError):
            session.act(batch(1))


def test_row_errors_are_rows_not_streams(server):
    with AgentClient(server.address) as client, client.open_session(num_envs=2) as session:
        stream = session.drive()
        bad = batch(2)
        data = bytearray(bad.tensors[1].data)
        data[40:44] = np.float32("nan").tobytes()
        bad.tensors[1].data = bytes(data)
        answers = decode_actions(stream.step(bad), 2)
        assert answers.status.tolist() == [action_pb2.ACTION_STATUS_OK, action_pb2.ACTION_STATUS_ERROR]
        with pytest.raises(FrameFailedError, match="env 1, episode 0, step 0") as caught:
            answers.raise_errors()
        assert caught.value.rows[1][0] == caught.value.reason == "NOT_FINITE"
        assert stream.step(batch(2, 1)).step[0] == 1


def test_token_and_info(server):
    with AgentClient(server.address, token="abc") as client:
        assert client.server_info().policies[0].policy.policy_id == "echo"
    assert server.metadata[0]["authorization"] == "Bearer abc"


def test_encoder_refuses_what_does_not_fit():
    key = {"env": [0], "episode": [0], "step": [0], "step_kind": [1]}
    good = tensors(1)
    with pytest.raises(TensorError, match=r"tensors\[state\] is missing"):
        ENCODER.encode({"bev_masks": good["bev_masks"]}, **key)
    with pytest.raises(TensorError, match=r"tensors\[speed\] is not in the session's spec"):
        ENCODER.encode({**good, "speed": good["state"]}, **key)
    with pytest.raises(TensorError, match=r"astype\(np.float32\)"):
        ENCODER.encode({**good, "state": good["state"].astype(np.float64)}, **key)
    masks = good["bev_masks"].copy()
    masks[0, 3, 5, 5] = 7
    with pytest.raises(TensorError, match=r"channel 3 \(vehicles_1.5s\) holds the value 7"):
        ENCODER.encode({**good, "bev_masks": masks}, **key)
    with pytest.raises(NotFiniteError, match="reward"):
        ENCODER.encode(good, reward=[float("inf")], **key)
    with pytest.raises(InvalidArgumentError, match="step has 2 entries; expected 1"):
        ENCODER.encode(good, **{**key, "step": [0, 1]})
    with pytest.raises(InvalidArgumentError, match=r"applied_action has shape \(1, 3\)"):
        ENCODER.encode(good, applied_action=np.zeros((1, 3)), **key)


def test_optional_picture_only_where_present(server):
    encoder = BatchEncoder(driving.observation_spec(picture=True), driving.action_spec())
    picture = np.full((1, 192, 192, 3), 7, np.uint8)
    key = {"env": [0, 1], "episode": [0, 0], "step": [0, 0], "step_kind": [1, 1]}
    message = encoder.encode({**tensors(2), "picture": picture}, present={"picture": [1]}, **key)
    assert list(message.tensors[2].rows) == [1]
    assert not encoder.encode(tensors(2), **key).tensors[2].data
    with RemotePolicy(server.address, 2, observation_spec=driving.observation_spec(picture=True)) as policy:
        assert policy.session.info.spec_hash == driving.SPEC_HASH
        assert policy.infer(tensors(2)).shape == (2, 2)
        assert len(policy.session.act(message).env) == 2


def test_answers_that_do_not_fit_are_the_servers_fault():
    with pytest.raises(InvalidArgumentError, match="actions.action"):
        decode_actions(action_pb2.ActionBatch(env=[0], episode=[0], step=[0], status=[1], action=[0.0]), 2)


def test_policy_by_name_in_the_request():
    from codriver.connection import session_request

    request = session_request({"policy": "echo", "num_envs": 4})
    assert isinstance(request, agent_service_pb2.OpenSessionRequest) and request.policy.policy_id == "echo"
