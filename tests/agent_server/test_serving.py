"""The usual way: open, attach, drive, act, close."""

import numpy as np
import pytest

from codriver.client import AgentClient


def test_server_info(start, kit):
    stub = start.connect(start([kit.make_policy("a"), kit.make_policy("b", std=(0.1, 0.1))]))
    info = stub.GetServerInfo(kit.pb.GetServerInfoRequest(), timeout=10)
    assert info.server_name == "codriver-agent-server" and info.server_instance_id
    assert [(p.policy.policy_id, p.policy.version, p.stochastic) for p in info.policies] == [
        ("a", 1, False),
        ("b", 1, True),
    ]
    assert info.policies[0].observation_spec == kit.SPEC and len(info.policies[0].spec_hash) == 64


@pytest.mark.parametrize("address", ["unix", "tcp"])
def test_drives_over_both_transports(start, kit, tmp_path, address):
    listen = f"unix:{tmp_path}/x" if address == "unix" else "127.0.0.1:0"
    driver = kit.Driver(start.connect(start(listen=(listen,))))
    answer = driver.ask(kit.rows((0, 0, 0), (3, 7, 0), masks=[0, 255], state=[(0.5, 2, 0), (-0.25, 3, 0)]))
    assert list(answer.env) == [0, 3] and list(answer.episode) == [0, 7] and list(answer.step) == [0, 0]
    np.testing.assert_allclose(answer.action, [0.5, 0.0, -0.25, 1.0], atol=1e-6)
    np.testing.assert_allclose(answer.value, [2, 3])
    assert list(answer.status) == [kit.action_pb2.ACTION_STATUS_OK] * 2
    assert (answer.policy.policy_id, answer.policy.version, answer.forward_rows) == ("echo", 1, 2)
    assert answer.inference_us > 0


def test_several_listeners_share_one_model(start, kit, tmp_path):
    server = start(listen=(f"unix:{tmp_path}/one", "127.0.0.1:0"))
    for address in server.server.addresses:
        driver = kit.Driver(start.connect(server, address))
        assert driver.ask(kit.rows((0, 0, 0))).action[0] == 0.5


def test_streams_share_a_pass(start, kit):
    server = start(batch_cap=16)
    stub = start.connect(server)
    drivers = [kit.Driver(stub) for _ in range(4)]
    server.echo.gate.clear()
    drivers[0].send(kit.rows((0, 0, 0)))
    kit.wait_until(lambda: server.echo.rows)
    for driver in drivers[1:]:
        driver.send(kit.rows((0, 0, 0), (1, 0, 0)))
    kit.wait_until(lambda: server.server._engine.waiting_rows == 6)
    server.echo.gate.set()
    answers = [driver.read().actions for driver in drivers]
    assert [answer.forward_rows for answer in answers] == [1, 6, 6, 6]
    assert all(answer.queue_us > 0 for answer in answers[1:])


def test_a_message_over_the_cap_is_answered_as_one(start, kit):
    driver = kit.Driver(start.connect(start(batch_cap=4)), num_envs=16)
    state = [(i / 16, i, 0) for i in range(10)]
    answer = driver.ask(kit.rows(*((env, 0, 0) for env in range(10)), state=state))
    np.testing.assert_allclose(answer.action[::2], [i / 16 for i in range(10)])
    np.testing.assert_allclose(answer.value, range(10))
    assert answer.forward_rows == 2


def test_episode_end_is_acknowledged_without_a_pass(start, kit):
    server = start()
    driver = kit.Driver(start.connect(server))
    driver.ask(kit.rows((0, 0, 0), (1, 0, 0)))
    server.echo.rows.clear()
    answer = driver.ask(kit.rows((0, 0, 1, kit.TERMINATED), (1, 0, 1, kit.TRUNCATED)))
    assert list(answer.status) == [kit.action_pb2.ACTION_STATUS_EPISODE_END] * 2
    assert list(answer.action) == [0] * 4 and answer.forward_rows == 0 and not server.echo.rows
    mixed = driver.ask(kit.rows((0, 1, 0), (1, 5, 0)))
    assert list(mixed.status) == [kit.action_pb2.ACTION_STATUS_OK] * 2


def test_a_final_row_beside_a_driving_one(start, kit):
    driver = kit.Driver(start.connect(start()))
    driver.ask(kit.rows((0, 0, 0), (1, 0, 0)))
    answer = driver.ask(kit.rows((0, 0, 1, kit.TERMINATED), (1, 0, 1), state=[(0, 0, 0), (0.75, 4, 0)]))
    assert list(answer.status) == [kit.action_pb2.ACTION_STATUS_EPISODE_END, kit.action_pb2.ACTION_STATUS_OK]
    np.testing.assert_allclose(answer.action, [0, 0, 0.75, 0])
    np.testing.assert_allclose(answer.value, [0, 4])
    assert answer.policy.policy_id == "echo" and answer.forward_rows == 1


def test_act_without_a_stream(start, kit):
    stub = start.connect(start())
    session = stub.OpenSession(kit.open_request(), timeout=10)
    names = {"session_id": session.session_id, "resume_token": session.resume_token}
    answer = stub.Act(kit.pb.ActRequest(**names, observations=kit.rows((0, 0, 0))), timeout=10).actions
    assert answer.action[0] == 0.5
    driver = kit.Driver(stub, session)
    assert [(a.env, a.episode, a.step) for a in driver.attached.answered] == [(0, 0, 0)]
    assert driver.ask(kit.rows((0, 0, 1))).action[0] == 0.5


def test_optional_tensors_travel_along(start, kit):
    spec = kit.observation_pb2.ObservationSpec(tensors=[kit.MASKS, kit.STATE, kit.PICTURE])
    driver = kit.Driver(start.connect(start()), observation_spec=spec)
    batch = kit.rows((0, 0, 0), (1, 0, 0))
    batch.tensors.append(kit.encode_column(kit.PICTURE, np.zeros((1, 4, 4, 3), np.uint8), present=[1]))
    assert len(driver.ask(batch).action) == 4


def test_stochastic_sampling_is_repeatable_and_per_session(start, kit):
    stub = start.connect(start([kit.make_policy(std=(0.1, 0.1))]))
    stochastic = kit.action_pb2.SAMPLING_MODE_STOCHASTIC
    batch = kit.rows((0, 0, 0), (1, 0, 0))
    answers = [
        list(kit.Driver(stub, sampling_mode=mode, seed=seed).ask(batch).action)
        for mode, seed in [(stochastic, 1), (stochastic, 1), (stochastic, 2), (0, 1)]
    ]
    assert answers[0] == answers[1] != answers[2]
    assert answers[3] == [0.5, 0.0, 0.5, 0.0] and answers[0][0] != answers[0][2]


def test_each_row_may_say_how_it_is_sampled(start, kit):
    modes = kit.action_pb2.SamplingMode
    stub = start.connect(start([kit.make_policy(std=(0.1, 0.1))]))
    batch = kit.rows((0, 0, 0), (1, 0, 0), (2, 0, 0))
    whole = list(
        kit.Driver(stub, sampling_mode=modes.Value("SAMPLING_MODE_STOCHASTIC"), seed=1).ask(batch).action
    )
    batch.sampling_mode.extend([0, 2, 1])  # the session's, a sample, the mode of the distribution
    own = list(kit.Driver(stub, seed=1).ask(batch).action)
    assert own[:2] == own[4:] == [0.5, 0.0]
    assert own[2:4] == whole[2:4] != [0.5, 0.0]


def test_a_row_cannot_sample_a_policy_without_noise(start, kit):
    driver = kit.Driver(start.connect(start()))
    batch = kit.rows((0, 0, 0))
    batch.sampling_mode.append(kit.action_pb2.SAMPLING_MODE_STOCHASTIC)
    driver.send(batch)
    status, reason, error = kit.failure(driver.done)
    assert (status, reason) == ("FAILED_PRECONDITION", "NOT_STOCHASTIC") and "DETERMINISTIC" in str(error)


def test_close_session_counts_and_ends_the_stream(start, kit):
    stub = start.connect(start())
    driver = kit.Driver(stub)
    driver.ask(kit.rows((0, 0, 0), (99, 0, 0)))
    driver.ask(kit.rows((0, 0, 1, kit.TERMINATED)))
    names = {"session_id": driver.session.session_id, "resume_token": driver.session.resume_token}
    counts = stub.CloseSession(kit.pb.CloseSessionRequest(**names), timeout=10)
    assert (counts.frames_ok, counts.frames_error, counts.episodes) == (1, 1, 1)
    assert driver.done() == [] and driver.call.code().name == "OK"
    status, reason, error = kit.failure(stub.CloseSession, kit.pb.CloseSessionRequest(**names), timeout=10)
    assert (status, reason) == ("NOT_FOUND", "SESSION_LOST") and "Open a new one" in str(error)


def test_half_closed_stream_is_answered_to_the_end(start, kit):
    driver = kit.Driver(start.connect(start()))
    driver.send(kit.rows((0, 0, 0)))
    assert [r.actions.action[0] for r in driver.done()] == [0.5]
    assert driver.call.code().name == "OK"


def test_the_wheel_drives(start, kit):
    client = AgentClient(start().address)
    assert client.server_info().policies[0].policy.policy_id == "echo"
    with client, client.open_session(kit.open_request()) as session, session.drive() as stream:
        assert stream.step(kit.rows((0, 0, 0))).action[0] == 0.5
