"""The vision-language model as driver: one answer a row, and brakes where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from codriver.coaching.blocking_link import BlockingLink
from codriver.codecs.column import encode_column
from codriver.driving import observation_spec
from codriver.v1 import action_pb2, feedback_pb2, observation_pb2
from sim_clients.drive.coach_driver import BRAKE, CoachDriver
from tests.codriver.coaching.feedback_peer import FeedbackPeer, answer_to

OK, END = action_pb2.ACTION_STATUS_OK, action_pb2.ACTION_STATUS_EPISODE_END
BRAKED = action_pb2.ACTION_STATUS_FALLBACK_BRAKE
SPEC = observation_spec(picture=True).tensors[-1]


def batch(*rows):
    """A batch of (env, step, marked) rows whose pictures are filled with the environment's number."""
    made = observation_pb2.ObservationBatch(
        env=[env for env, _, _ in rows],
        episode=[3] * len(rows),
        step=[step for _, step, _ in rows],
        wants_feedback=[marked for _, _, marked in rows],
    )
    marked = [(index, env) for index, (env, _, wants) in enumerate(rows) if wants]
    for _, env in marked:
        made.feedback_context.add(command=env + 1, forward_speed_mps=env, target_x_m=50.0)
    pictures = np.array([np.full(SPEC.shape, env, np.uint8) for _, env in marked], np.uint8)
    made.tensors.add()
    made.tensors.append(
        encode_column(SPEC, pictures.reshape(-1, *SPEC.shape), [index for index, _ in marked])
    )
    return made


@pytest.fixture
def driven(tmp_path):
    """A function that makes a driver on a service with a script."""
    opened = []

    def make(script, **settings):
        peer = FeedbackPeer(tmp_path / "f", script).start()
        link = BlockingLink(peer.address)
        opened.extend([link.close, peer.stop])
        assert link.wait_connected(30)
        return CoachDriver(link, **settings), peer

    yield make
    for close in opened:
        close()


def by_env(peer, request):
    """Throttle is a tenth of the environment's number; environment 2 gets text that is no action."""
    env = request.key.env
    if env == 2:
        feedback = answer_to(request)
        feedback.unavailable.reason = feedback_pb2.UNAVAILABLE_REASON_UNPARSEABLE
        return [feedback]
    return [answer_to(request, vlm_action=feedback_pb2.VlmAction(throttle=env / 10, steer=0.2, brake=0.05))]


def test_every_row_gets_the_answer_to_its_own_picture(driven):
    driver, peer = driven(by_env)
    answer = driver(batch((0, 7, True), (1, 0, False), (3, 2, True)))
    np.testing.assert_allclose(
        np.reshape(answer.action, (3, 2)), [[-0.05, 0.2], [0, 0], [0.3, 0.2]], atol=1e-6
    )
    assert list(answer.status) == [OK, END, OK]
    assert (list(answer.env), list(answer.step), answer.policy.policy_id) == ([0, 1, 3], [7, 0, 2], "peer")
    asked = {request.key.env: request for request in peer.asked}
    assert sorted(asked) == [0, 3]
    for env, request in asked.items():
        assert (request.coach, request.key.episode) == ("vlm", 3)
        assert (request.context.command, request.context.forward_speed_mps) == (env + 1, env)
        expected = encode_column(SPEC, np.full((1, *SPEC.shape), env, np.uint8)).data
        assert request.picture == expected


def test_without_an_answer_it_brakes_and_says_so(driven):
    driver, _ = driven(by_env)
    for step in range(3):
        answer = driver(batch((1, step, True), (2, step, True)))
        assert tuple(answer.action[2:]) == BRAKE and list(answer.status) == [OK, BRAKED]
    assert driver.figures() == {"unanswered_share": 0.5, "unanswered": {"UNPARSEABLE": 3}}


def test_a_model_that_hangs_ends_as_timed_out(driven):
    driver, _ = driven(lambda peer, request: [], timeout_s=0.3)
    answer = driver(batch((1, 0, True)))
    assert tuple(answer.action) == BRAKE and list(answer.status) == [BRAKED]
    assert not answer.HasField("policy")  # no model chose this
    assert driver.figures()["unanswered"] == {"TIMED_OUT": 1}


def test_a_batch_of_last_rows_asks_nobody(driven):
    driver, peer = driven(by_env)
    answer = driver(batch((0, 9, False)))
    assert list(answer.status) == [END] and not answer.HasField("policy") and peer.asked == []
    assert driver.figures()["unanswered_share"] is None
