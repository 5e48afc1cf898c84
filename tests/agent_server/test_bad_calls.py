"""Calls that cannot be served end with a status, a reason, the field at fault and what to do; others do not notice."""

import pytest

from codriver.v1 import action_pb2
from codriver.v1 import agent_service_pb2 as pb


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def witness(server, start, kit):
    """Another session, which must drive on whatever happens."""
    driver = kit.Driver(start.connect(server))
    assert driver.ask(kit.rows((0, 0, 0))).action[0] == 0.5
    yield driver
    assert driver.ask(kit.rows((0, 0, 1))).action[0] == 0.5


def refused_open(stub, kit, **changes):
    return kit.failure(stub.OpenSession, kit.open_request(**changes), timeout=10)


def test_another_spec_is_refused_with_every_difference(server, start, kit):
    spec = kit.observation_pb2.ObservationSpec(tensors=[kit.MASKS, kit.STATE])
    spec.tensors[0].palettes[0].levels = bytes([0, 100, 255])
    spec.tensors[1].shape[0] = 4
    actions = action_pb2.ActionSpec(names=["acceleration", "steer"], low=[-1, -2], high=[1, 1])
    status, reason, error = refused_open(
        start.connect(server), kit, observation_spec=spec, action_spec=actions
    )
    assert (status, reason) == ("FAILED_PRECONDITION", "SPEC_MISMATCH")
    assert [v.field for v in error.violations] == [
        "observation_spec.tensors[0].palettes[0]",
        "observation_spec.tensors[1].shape",
        "action_spec.low",
    ]


@pytest.mark.parametrize(
    ("changes", "status", "reason", "field"),
    [
        ({"num_envs": 0}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "num_envs"),
        ({"num_envs": 65_537}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "num_envs"),
        ({"client_name": "x" * 129}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "client_name"),
        ({"session_id": "mine"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "session_id"),
        ({"fallback": action_pb2.FALLBACK_HOLD}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "fallback"),
        ({"observation_spec": None}, "INVALID_ARGUMENT", "INVALID_SPEC", "observation_spec.tensors"),
        ({"action_spec": None}, "INVALID_ARGUMENT", "INVALID_SPEC", "action_spec.names"),
        ({"purpose": pb.SESSION_PURPOSE_TRAINING}, "FAILED_PRECONDITION", "NO_LEARNER", "purpose"),
        (
            {"sampling_mode": action_pb2.SAMPLING_MODE_STOCHASTIC},
            "FAILED_PRECONDITION",
            "NOT_STOCHASTIC",
            "sampling_mode",
        ),
        (
            {"policy": action_pb2.PolicyVersion(policy_id="ghost")},
            "NOT_FOUND",
            "UNKNOWN_POLICY",
            "policy.policy_id",
        ),
        (
            {"policy": action_pb2.PolicyVersion(policy_id="echo", version=7)},
            "NOT_FOUND",
            "UNKNOWN_POLICY_VERSION",
            "policy.version",
        ),
    ],
)
def test_open_session_refusals(server, start, kit, changes, status, reason, field):
    found = refused_open(start.connect(server), kit, **changes)
    assert found[:2] == (status, reason) and found[2].field == field
    assert "\n" not in str(found[2])
    if reason == "UNKNOWN_POLICY":
        assert "it has: echo" in str(found[2])


def test_no_coaches_are_granted(server, start, kit):
    from codriver.v1 import feedback_pb2

    wanted = [feedback_pb2.CoachSelection(coach="vlm", kind=feedback_pb2.FEEDBACK_KIND_VLM_ACTION)]
    rule = feedback_pb2.FeedbackRule(every_k_steps=5)
    session = start.connect(server).OpenSession(kit.open_request(coaches=wanted, feedback_rule=rule))
    assert not session.coaches and not session.HasField("feedback_rule")


def test_too_many_sessions(start, kit):
    stub = start.connect(start(max_sessions=1))
    stub.OpenSession(kit.open_request(), timeout=10)
    status, reason, error = refused_open(stub, kit)
    assert (status, reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_SESSIONS") and error.retry_after_s


def test_idle_sessions_are_swept(start, kit):
    server = start(idle_timeout_s=1, max_sessions=2)
    stub = start.connect(server)
    attached = kit.Driver(stub)
    idle = stub.OpenSession(kit.open_request(), timeout=10)
    registry = server.server._registry
    kit.wait_until(lambda: len(registry) == 1)
    request = pb.CloseSessionRequest(session_id=idle.session_id, resume_token=idle.resume_token)
    assert kit.failure(stub.CloseSession, request, timeout=10)[:2] == ("NOT_FOUND", "SESSION_LOST")
    assert attached.ask(kit.rows((0, 0, 0))).action[0] == 0.5


def attach(kit, stub, session_id, token):
    message = pb.DriveRequest(attach=pb.Attach(session_id=session_id, resume_token=token))
    return kit.failure(lambda: list(stub.Drive(iter([message]), timeout=10)))


def test_second_attach_is_refused_and_the_first_drives_on(server, witness, start, kit):
    session = witness.session
    found = attach(kit, start.connect(server), session.session_id, session.resume_token)
    assert found[:2] == ("ALREADY_EXISTS", "ALREADY_ATTACHED")
    act = pb.ActRequest(
        session_id=session.session_id, resume_token=session.resume_token, observations=kit.rows((1, 0, 0))
    )
    assert kit.failure(start.connect(server).Act, act, timeout=10)[:2] == (
        "ALREADY_EXISTS",
        "ALREADY_ATTACHED",
    )


def test_wrong_token_and_unknown_session(server, witness, start, kit):
    stub = start.connect(server)
    assert attach(kit, stub, witness.session.session_id, "guess")[:2] == (
        "PERMISSION_DENIED",
        "WRONG_RESUME_TOKEN",
    )
    assert attach(kit, stub, "nobody", "guess")[:2] == ("NOT_FOUND", "SESSION_LOST")


@pytest.mark.parametrize("first", [pb.DriveRequest(), None], ids=["empty", "nothing"])
def test_a_stream_must_attach_first(server, witness, start, kit, first):
    messages = [] if first is None else [first]
    status, reason, _ = kit.failure(lambda: list(start.connect(server).Drive(iter(messages), timeout=10)))
    assert (status, reason) == ("INVALID_ARGUMENT", "NOT_ATTACHED")


def test_attach_twice_on_one_stream(server, witness, start, kit):
    driver = kit.Driver(start.connect(server))
    driver.outgoing.put(pb.DriveRequest(attach=pb.Attach(session_id=driver.session.session_id)))
    assert kit.failure(driver.read)[:2] == ("INVALID_ARGUMENT", "UNEXPECTED_MESSAGE")


def test_bytes_that_are_no_message(server, witness, kit):
    import grpc

    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream("/codriver.v1.AgentService/Drive")(iter([b"\xff\xff\xff"]), timeout=10)
        assert kit.failure(lambda: list(call))[:2] == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


@pytest.mark.parametrize("method", ["GetServerInfo", "OpenSession", "Act", "CloseSession"])
def test_bytes_that_are_no_request(server, witness, kit, method):
    import grpc

    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"/codriver.v1.AgentService/{method}")
        assert kit.failure(call, b"\xff\xff\xff", timeout=10)[:2] == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


def column_lengths(batch):
    batch.step.append(3)


def no_rows(batch):
    batch.Clear()


def missing_column(batch):
    del batch.tensors[1]


def reward_length(batch):
    batch.reward.append(1.0)


def too_many_rows(batch):
    for column in (batch.env, batch.episode, batch.step, batch.step_kind):
        column.extend([1] * 400)


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (column_lengths, "observations.episode"),
        (no_rows, "observations.env"),
        (missing_column, "observations.tensors"),
        (reward_length, "observations.reward"),
        (too_many_rows, "observations.env"),
    ],
)
def test_a_message_without_rows_ends_the_stream_but_not_the_session(
    server, witness, start, kit, spoil, field
):
    stub = start.connect(server)
    driver = kit.Driver(stub)
    assert driver.ask(kit.rows((0, 0, 0), (1, 0, 0))).action[0] == 0.5
    batch = kit.rows((0, 0, 1), (1, 0, 1))
    spoil(batch)
    driver.send(batch)
    status, reason, error = kit.failure(driver.read)
    assert (status, reason, error.field) == ("INVALID_ARGUMENT", "MALFORMED_BATCH", field)
    again = kit.Driver(stub, driver.session)
    assert [(a.env, a.step) for a in again.attached.answered] == [(0, 0), (1, 0)]
    assert again.ask(kit.rows((0, 0, 1), (1, 0, 1))).action[0] == 0.5


def test_oversized_message(start, kit):
    server = start(max_message_bytes=4096)
    stub = start.connect(server)
    driver, other = kit.Driver(stub), kit.Driver(stub)
    assert driver.session.max_message_bytes == 4096
    batch = kit.rows((0, 0, 0))
    batch.tensors[1].data = b"x" * 5000
    driver.send(batch)
    assert kit.failure(driver.read)[0] == "RESOURCE_EXHAUSTED"
    assert other.ask(kit.rows((0, 0, 0))).action[0] == 0.5
    kit.wait_until(lambda: len(server.server._agent.streams) == 1)
    assert kit.Driver(stub, driver.session).ask(kit.rows((0, 0, 0))).action[0] == 0.5


def test_a_client_that_vanishes_in_mid_batch(server, witness, start, kit):
    stub = start.connect(server)
    driver = kit.Driver(stub)
    server.echo.rows.clear()
    server.echo.gate.clear()
    driver.send(kit.rows((0, 0, 0), state=(0.25, 7, 0)))
    kit.wait_until(lambda: server.echo.rows)
    driver.vanish()
    kit.wait_until(lambda: len(server.server._agent.streams) == 1)
    server.echo.gate.set()
    again = kit.Driver(stub, driver.session)
    answer = again.ask(kit.rows((0, 0, 0), state=(0.25, 7, 0)))  # what was computed is not lost
    assert answer.action[0] == 0.25 and sum(server.echo.rows) == 1
    assert again.ask(kit.rows((0, 0, 1))).action[0] == 0.5
