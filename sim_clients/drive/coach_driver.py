"""The vision-language model drives by itself: every picture is put before it, and its answer is waited for."""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from codriver.coaching.blocking_link import BlockingLink
from codriver.coaching.ledger import reason_name
from codriver.coaching.source import FeedbackSource
from codriver.driving import to_action
from codriver.v1 import action_pb2, feedback_pb2, feedback_service_pb2, observation_pb2
from sim_clients.drive.coach_service import coach_service
from sim_clients.drive.feedback_rule import MarkingRule

COACH = "vlm"
EVERY_ROW = MarkingRule(every_k_steps=1)
"""Workers mark every row but the last, so that each brings its picture and its context."""
BRAKE = (-1.0, 0.0)
"""What is done where there is no answer: there is no default action that one could pretend the model had given."""
ANSWER_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 30.0


class CoachDriver:
    """Answers batches with the actions of the coach ``vlm``, without an agent server.

    Args:
        link: Link to its feedback service.
        timeout_s: Longest wait for an answer.

    Attributes:
        asked: Rows that it was asked about.
        unanswered: Rows that it gave no action for, by reason; the car braked there.
    """

    def __init__(self, link: BlockingLink, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.asked = 0
        self.unanswered: Counter[str] = Counter()
        self._link, self._timeout_s = link, timeout_s
        self._session_id = uuid.uuid4().hex
        self._model = ""

    def __call__(self, batch: observation_pb2.ObservationBatch) -> action_pb2.ActionBatch:
        """Asks about the batch's rows and returns their actions."""
        marked = [row for row, wanted in enumerate(batch.wants_feedback) if wanted]
        feedback = self._link.ask_and_wait(self._requests(batch, marked)) if marked else []
        rows = len(batch.env)
        actions = np.zeros((rows, 2), np.float32)
        status = [action_pb2.ACTION_STATUS_EPISODE_END] * rows
        for row, answer in zip(marked, feedback, strict=True):
            actions[row], status[row] = self._action(answer)
        acted = action_pb2.ACTION_STATUS_OK in status
        return action_pb2.ActionBatch(
            env=batch.env,
            episode=batch.episode,
            step=batch.step,
            action=actions.ravel().tolist(),
            status=status,
            policy=action_pb2.PolicyVersion(policy_id=self._model or COACH) if acted else None,
            queue_us=max((answer.queue_us for answer in feedback), default=0),
            inference_us=max((answer.inference_us for answer in feedback), default=0),
        )

    def figures(self) -> dict[str, Any]:
        """Returns how often it gave no action, JSON-able."""
        missing = sum(self.unanswered.values())
        return {
            "unanswered_share": round(missing / self.asked, 6) if self.asked else None,
            "unanswered": dict(sorted(self.unanswered.items())),
        }

    def _requests(
        self, batch: observation_pb2.ObservationBatch, marked: list[int]
    ) -> list[feedback_service_pb2.AnnotationRequest]:
        column = batch.tensors[-1]
        ends = np.cumsum([0, *column.row_sizes_bytes]).tolist()
        data = column.data
        pictures = {row: data[ends[i] : ends[i + 1]] for i, row in enumerate(column.rows)}
        return [
            feedback_service_pb2.AnnotationRequest(
                key=feedback_pb2.FeedbackKey(
                    session_id=self._session_id,
                    env=batch.env[row],
                    episode=batch.episode[row],
                    step=batch.step[row],
                ),
                coach=COACH,
                kind=feedback_pb2.FEEDBACK_KIND_VLM_ACTION,
                picture=pictures[row],
                context=batch.feedback_context[place],
                timeout_ms=round(1000 * self._timeout_s),
            )
            for place, row in enumerate(marked)
        ]

    def _action(self, feedback: feedback_pb2.Feedback) -> tuple[Any, action_pb2.ActionStatus]:
        self.asked += 1
        if feedback.model_id:
            self._model = feedback.model_id
        if feedback.WhichOneof("outcome") != "vlm_action":
            self.unanswered[reason_name(feedback.unavailable.reason)] += 1
            return BRAKE, action_pb2.ACTION_STATUS_FALLBACK_BRAKE
        said = feedback.vlm_action
        action = to_action(np.array([said.throttle, said.steer, said.brake], np.float32))
        return action, action_pb2.ACTION_STATUS_OK


@contextlib.contextmanager
def open_coach_driver(source: FeedbackSource | None, say: Callable[[str], None]) -> Iterator[CoachDriver]:
    """Connects to a feedback service, or starts one, and waits until its coach answers.

    Args:
        source: A running service. None: one is started.
        say: Told how the coach comes up, a line each.

    Raises:
        SimulatorError: No coach answers.
        InvalidArgumentError: A file that lets us in cannot be used.
    """
    with coach_service(source) as service:
        service.watch()
        for line in service.wait(COACH):
            say(line)
        with BlockingLink(service.address, **service.source.link_settings()) as link:
            link.wait_connected(_CONNECT_TIMEOUT_S)
            yield CoachDriver(link)
