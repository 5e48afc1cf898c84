"""Rows that cannot be answered end alone: with a reason, and without harm to other rows, environments and sessions."""

import math

import pytest

from codriver.v1 import action_pb2


def reasons(answer):
    """Reason of each row; None where it has an action or its episode ended."""
    found = [None] * len(answer.env)
    for error in answer.errors:
        assert answer.status[error.row] == action_pb2.ACTION_STATUS_ERROR
        assert error.detail
        found[error.row] = action_pb2.FrameErrorReason.Name(error.reason)[len("FRAME_ERROR_REASON_") :]
    assert sum(s == action_pb2.ACTION_STATUS_ERROR for s in answer.status) == len(answer.errors)
    return found


@pytest.fixture
def driver(start, kit):
    return kit.Driver(start.connect(start()))


def test_nan_in_a_tensor_spoils_its_row_only(driver, kit):
    answer = driver.ask(
        kit.rows((0, 0, 0), (1, 0, 0), (2, 0, 0), state=[(0.1, 0, 0), (math.nan, 0, 0), (0.3, 0, 0)])
    )
    assert reasons(answer) == [None, "NOT_FINITE", None]
    assert list(answer.action) == pytest.approx([0.1, 0, 0, 0, 0.3, 0])
    assert answer.errors[0].field == "tensors[state]"
    # an error is no answer: the key may come again, corrected, and the episode may also go on without it
    assert reasons(driver.ask(kit.rows((1, 0, 0)))) == [None]
    assert reasons(driver.ask(kit.rows((0, 0, 1), (1, 0, 1), (2, 0, 1)))) == [None] * 3


def test_nan_does_not_reach_other_sessions_in_the_same_pass(start, kit):
    server = start()
    stub = start.connect(server)
    good, bad, first = (kit.Driver(stub) for _ in range(3))
    server.echo.gate.clear()
    first.send(kit.rows((0, 0, 0)))
    kit.wait_until(lambda: server.echo.rows)
    good.send(kit.rows((0, 0, 0)))
    bad.send(kit.rows((0, 0, 0), state=(math.inf, 0, 0)))
    kit.wait_until(lambda: server.server._engine.waiting_rows == 2)
    server.echo.gate.set()
    answer = good.read().actions
    assert reasons(answer) == [None] and answer.forward_rows == 2 and answer.action[0] == 0.5
    assert reasons(bad.read().actions) == ["NOT_FINITE"]


def test_palette_index_out_of_range(driver, kit):
    batch = kit.rows((0, 0, 0), (1, 0, 0))
    size = len(batch.tensors[0].data) // 2
    batch.tensors[0].data = batch.tensors[0].data[:size] + b"\xff" * size  # index 3 of 3 levels
    answer = driver.ask(batch)
    assert reasons(answer) == [None, "MALFORMED_TENSOR"] and answer.errors[0].field == "tensors[masks]"


def test_wrong_size_cannot_be_cut_into_rows(driver, kit):
    batch = kit.rows((0, 0, 0), (1, 0, 0))
    batch.tensors[1].data = batch.tensors[1].data[:-4]
    answer = driver.ask(batch)
    assert reasons(answer) == ["MALFORMED_TENSOR"] * 2
    assert "20 bytes; 2 rows of 12 bytes are 24" in answer.errors[0].detail
    assert reasons(driver.ask(kit.rows((0, 0, 0), (1, 0, 0)))) == [None, None]  # the keys were not used up


def test_reward_and_applied_action_must_be_finite(driver, kit):
    first = kit.rows((0, 0, 0), (1, 0, 0), reward=[math.nan, 0])  # ignored at a first step
    assert reasons(driver.ask(first)) == [None, None]
    answer = driver.ask(kit.rows((0, 0, 1), (1, 0, 1), reward=[math.nan, 0]))
    assert reasons(answer) == ["NOT_FINITE", None] and answer.errors[0].field == "reward"
    answer = driver.ask(kit.rows((0, 0, 1), (1, 0, 2), applied_action=[0, 0, math.inf, 0]))
    assert reasons(answer) == [None, "NOT_FINITE"] and answer.errors[0].field == "applied_action"


def test_unknown_and_duplicate_environment(driver, kit):
    answer = driver.ask(kit.rows((0, 0, 0), (8, 0, 0), (0, 0, 0)))
    assert reasons(answer) == [None, "UNKNOWN_ENV", "DUPLICATE_ENV"]
    assert "0 to 7" in answer.errors[0].detail


@pytest.mark.parametrize(
    ("key", "reason", "field"),
    [
        ((0, 0, 3), "OUT_OF_ORDER", "step"),
        ((0, 0, 2, 1), "OUT_OF_ORDER", "step"),  # FIRST inside an episode
        ((0, 1, 1), "OUT_OF_ORDER", "step"),
        ((0, 1, 0, 2), "OUT_OF_ORDER", "step_kind"),
        ((0, 0, 0), "EXPIRED_KEY", "step"),
        ((0, 0, 2, 0), "INVALID_STEP_KIND", "step_kind"),
        ((0, 0, 2, 9), "INVALID_STEP_KIND", "step_kind"),
    ],
)
def test_keys_out_of_order(driver, kit, key, reason, field):
    driver.ask(kit.rows((0, 0, 0), (1, 0, 0)))
    driver.ask(kit.rows((0, 0, 1)))
    answer = driver.ask(kit.rows(key, (1, 0, 1)))
    assert reasons(answer) == [reason, None] and answer.errors[0].field == field
    assert reasons(driver.ask(kit.rows((0, 0, 2), (1, 0, 2)))) == [None, None]  # nothing was lost


def test_an_episode_does_not_start_in_the_middle(driver, kit):
    assert reasons(driver.ask(kit.rows((0, 0, 4)))) == ["OUT_OF_ORDER"]
    assert reasons(driver.ask(kit.rows((0, 0, 1, kit.FIRST)))) == ["OUT_OF_ORDER"]
    assert reasons(driver.ask(kit.rows((0, 5, 0)))) == [None]


def test_step_after_the_terminal_one(driver, kit):
    driver.ask(kit.rows((0, 4, 0), (1, 4, 0)))
    driver.ask(kit.rows((0, 4, 1, kit.TERMINATED)))
    answer = driver.ask(kit.rows((0, 4, 2), (1, 4, 1)))
    assert reasons(answer) == ["EPISODE_ENDED", None] and "STEP_KIND_FIRST" in answer.errors[0].detail
    assert reasons(driver.ask(kit.rows((0, 3, 0)))) == ["EXPIRED_KEY"]
    assert reasons(driver.ask(kit.rows((0, 9, 0)))) == [None]


def test_an_unfinished_episode_may_be_left(driver, kit):
    driver.ask(kit.rows((0, 0, 0)))
    assert reasons(driver.ask(kit.rows((0, 2, 0)))) == [None]


def test_repeated_key_gets_the_stored_answer(start, kit):
    server = start()
    driver = kit.Driver(start.connect(server))
    first = driver.ask(kit.rows((0, 0, 0), (1, 0, 0), state=[(0.1, 5, 0), (0.2, 6, 0)]))
    server.echo.rows.clear()
    again = driver.ask(kit.rows((1, 0, 0), state=(0.2, 6, 0)))
    assert list(again.action) == list(first.action[2:]) and list(again.value) == [6]
    assert again.policy == first.policy and again.forward_rows == 0 and not server.echo.rows
    changed = driver.ask(kit.rows((1, 0, 0), (0, 0, 1), state=[(0.9, 6, 0), (0.3, 0, 0)]))
    assert reasons(changed) == ["ALREADY_EXISTS", None] and changed.action[2] == pytest.approx(0.3)


def test_repeated_key_in_flight_is_computed_once(start, kit):
    server = start()
    stub = start.connect(server)
    driver = kit.Driver(stub)
    server.echo.gate.clear()
    driver.send(kit.rows((0, 0, 0)))
    kit.wait_until(lambda: server.echo.rows)
    driver.send(kit.rows((0, 0, 0), (1, 0, 0)))
    kit.wait_until(lambda: server.server._engine.waiting_rows == 1)
    server.echo.gate.set()
    answers = [driver.read().actions for _ in range(2)]
    assert [len(a.env) for a in answers] == [1, 2] and answers[1].action[0] == answers[0].action[0]
    assert sum(server.echo.rows) == 2


def test_more_rows_than_credits(start, kit):
    server = start()
    stub = start.connect(server)
    driver, other = kit.Driver(stub, frames_in_flight=2), kit.Driver(stub)
    assert driver.session.frames_in_flight == 2
    server.echo.gate.clear()
    driver.send(kit.rows((0, 0, 0)))
    kit.wait_until(lambda: server.echo.rows)
    driver.send(kit.rows((1, 0, 0), (2, 0, 0)))
    other.send(kit.rows(*((env, 0, 0) for env in range(8))))
    kit.wait_until(lambda: server.server._engine.waiting_rows == 9)
    server.echo.gate.set()
    assert reasons(driver.read().actions) == [None]
    assert reasons(driver.read().actions) == [None, "NO_CREDIT"]
    assert reasons(other.read().actions) == [None] * 8
    assert reasons(driver.ask(kit.rows((2, 0, 0)))) == [None]


def test_a_full_waiting_room_refuses_without_using_up_keys(start, kit):
    server = start(max_waiting_rows=4, max_rows_per_message=4)
    stub = start.connect(server)
    drivers = [kit.Driver(stub) for _ in range(3)]
    server.echo.gate.clear()
    drivers[0].send(kit.rows((0, 0, 0)))
    kit.wait_until(lambda: server.echo.rows)
    drivers[1].send(kit.rows((0, 0, 0), (1, 0, 0), (2, 0, 0)))
    kit.wait_until(lambda: server.server._engine.waiting_rows == 3)
    refused = drivers[2].ask(kit.rows((0, 0, 0), (1, 0, 0)))
    assert reasons(refused) == ["NO_CREDIT"] * 2 and "3 rows wait" in refused.errors[0].detail
    server.echo.gate.set()
    assert reasons(drivers[1].read().actions) == [None] * 3
    assert reasons(drivers[2].ask(kit.rows((0, 0, 0), (1, 0, 0)))) == [None] * 2


def test_a_row_that_breaks_the_policy_ends_alone(driver, kit):
    state = [(0.1, 0, 0), (0.2, 5000, 0), (0.3, 0, 0)]
    answer = driver.ask(kit.rows((0, 0, 0), (1, 0, 0), (2, 0, 0), state=state))
    assert reasons(answer) == [None, "POLICY_FAILED", None]
    assert list(answer.action) == pytest.approx([0.1, 0, 0, 0, 0.3, 0])
    assert "state too large" in answer.errors[0].detail


@pytest.mark.parametrize("fallback", ["FALLBACK_NONE", "FALLBACK_HOLD", "FALLBACK_BRAKE"])
def test_deadline_and_fallback(start, kit, fallback):
    server = start()
    stub = start.connect(server)
    driver = kit.Driver(stub, act_deadline_ms=60, fallback=action_pb2.Fallback.Value(fallback))
    patient = kit.Driver(stub)
    assert reasons(driver.ask(kit.rows((0, 0, 0), (1, 0, 0)))) == [None, None]
    server.echo.gate.clear()
    driver.send(kit.rows((0, 0, 1), (1, 1, 0), state=(0.9, 0, 0)))
    late = driver.read().actions
    patient.send(kit.rows((0, 0, 0)))
    server.echo.gate.set()
    if fallback == "FALLBACK_NONE":
        assert reasons(late) == ["DEADLINE_EXCEEDED"] * 2
        assert "within 60 ms" in late.errors[0].detail and "ms in the model" in late.errors[0].detail
    elif fallback == "FALLBACK_HOLD":
        hold, brake = action_pb2.ACTION_STATUS_FALLBACK_HOLD, action_pb2.ACTION_STATUS_FALLBACK_BRAKE
        assert list(late.status) == [hold, brake]  # a new episode has nothing to hold
        assert list(late.action) == [0.5, 0, -1, 0]
    else:
        assert list(late.status) == [action_pb2.ACTION_STATUS_FALLBACK_BRAKE] * 2
        assert list(late.action) == [-1, 0, -1, 0]
    assert reasons(patient.read().actions) == [None]
    following = driver.ask(kit.rows((0, 0, 2), (1, 1, 1)))
    assert reasons(following) == [None, None] and following.action[0] == 0.5
