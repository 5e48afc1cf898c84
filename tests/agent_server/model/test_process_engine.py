"""The model in a process of its own serves as it does on a thread, and its death is not silent."""

import math
import os
import signal

import pytest

from agent_server.policies.card import PolicyCard
from agent_server.policies.directory import save_policy
from agent_server.policies.network import DrivingNetwork
from codriver.v1 import action_pb2

ARGUMENTS = {"channels": 2, "size": 8, "state_items": 3}
OK, ERROR = action_pb2.ACTION_STATUS_OK, action_pb2.ACTION_STATUS_ERROR


@pytest.fixture
def path(tmp_path, kit):
    card = PolicyCard("tiny", "bev_cnn", kit.SPEC, kit.ACTIONS, arguments=ARGUMENTS, has_value=True)
    save_policy(tmp_path / "tiny", card, DrivingNetwork(**ARGUMENTS))
    return str(tmp_path / "tiny")


def test_answers_as_the_thread_does(start, kit, path, tmp_path):
    served = start([path], model="process", batch_cap=4)
    threaded = start([path], model="thread", batch_cap=4)
    assert served.server.model_pid not in (os.getpid(), None)
    state = [(0.1 * i, i, -i) for i in range(6)]
    batch = kit.rows(*((env, 0, 0) for env in range(6)), masks=[0, 120, 255, 0, 120, 255], state=state)
    drivers = [kit.Driver(start.connect(server)) for server in (served, threaded)]
    answers = [driver.ask(batch) for driver in drivers]
    assert list(answers[0].status) == [OK] * 6
    assert list(answers[0].action) == list(answers[1].action) and list(answers[0].value) == list(
        answers[1].value
    )
    assert answers[0].policy == answers[1].policy

    # a bad row ends alone
    bad = drivers[0].ask(kit.rows((0, 0, 1), (1, 0, 1), state=[(math.nan, 0, 0), (0, 0, 0)]))
    assert list(bad.status) == [ERROR, OK]
    assert bad.errors[0].reason == action_pb2.FRAME_ERROR_REASON_NOT_FINITE

    # a stopped process means late rows, with the fallback on time; afterwards everything goes on
    late = kit.Driver(
        start.connect(served), act_deadline_ms=100, fallback=action_pb2.FALLBACK_BRAKE, num_envs=1
    )
    os.kill(served.server.model_pid, signal.SIGSTOP)
    try:
        answer = late.ask(kit.rows((0, 0, 0)))
    finally:
        os.kill(served.server.model_pid, signal.SIGCONT)
    assert list(answer.status) == [action_pb2.ACTION_STATUS_FALLBACK_BRAKE]
    assert list(late.ask(kit.rows((0, 0, 1))).status) in ([OK], [action_pb2.ACTION_STATUS_FALLBACK_BRAKE])
    assert list(drivers[0].ask(kit.rows((0, 0, 2), (1, 0, 2))).status) == [OK, OK]
    kit.wait_until(lambda: served.server._engine.waiting_rows == 0)


def test_death_of_the_model_is_reported_and_ends_the_server(start, kit, path):
    server = start([path], model="process")
    driver = kit.Driver(start.connect(server))
    assert list(driver.ask(kit.rows((0, 0, 0))).status) == [OK]
    os.kill(server.server.model_pid, signal.SIGSTOP)
    driver.send(kit.rows((0, 0, 1)))
    kit.wait_until(lambda: server.server._engine.waiting_rows == 1)
    os.kill(server.server.model_pid, signal.SIGKILL)
    responses = [driver.read(), driver.read()]
    by_kind = {response.WhichOneof("message"): response for response in responses}
    actions = by_kind["actions"].actions
    assert actions.errors[0].reason == action_pb2.FRAME_ERROR_REASON_POLICY_FAILED
    assert "model's process ended" in actions.errors[0].detail
    assert "model's process ended" in by_kind["drain"].drain.reason
    assert kit.failure(driver.read)[:2] == ("UNAVAILABLE", "DRAINED")
    server._thread.join(20)
    assert "status -9" in server.server.failed
