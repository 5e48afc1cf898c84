"""The answers that a coach has given: by key, for requests that are sent again, and by picture and context."""

from __future__ import annotations

from codriver.v1 import feedback_pb2
from feedback_service.coaches.kind import Outcome
from feedback_service.desk.kept import Kept
from feedback_service.desk.row import Row, RowKey
from feedback_service.desk.settings import Route

_FINAL = frozenset(
    {
        feedback_pb2.UNAVAILABLE_REASON_UNPARSEABLE,
        feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR,
        feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT,
        feedback_pb2.UNAVAILABLE_REASON_STALE,
    }
)
"""Reasons that a request gets again when it is sent again. After the others nothing was tried, so it may be now."""


class Memory:
    """Answers of one coach.

    Args:
        answers: Keys to remember.
        equal: Pictures with contexts to remember. 0: none.
    """

    def __init__(self, answers: int, equal: int) -> None:
        self._answers: Kept[tuple[bytes, feedback_pb2.Feedback]] = Kept(answers)
        self._equal: Kept[Outcome] = Kept(equal)

    def answer(self, key: RowKey) -> tuple[bytes, feedback_pb2.Feedback] | None:
        """What a key was answered, and the fingerprint of what was asked."""
        return self._answers.get(key)

    def equal(self, row: Row, route: Route | None) -> Outcome | None:
        """The value that a model has for an equal picture and context."""
        return None if route is None else self._equal.get((route, row.same))

    def keep(
        self, row: Row, outcome: Outcome, feedback: feedback_pb2.Feedback, computed_by: Route | None
    ) -> None:
        """Remembers a row's answer.

        Args:
            row: The row.
            outcome: What came out.
            feedback: The answer.
            computed_by: The model that has just computed it; None: none has.
        """
        value = not isinstance(outcome, feedback_pb2.Unavailable)
        if value or feedback.unavailable.reason in _FINAL:
            self._answers.keep(row.key, (row.fingerprint, feedback))
        if value and computed_by is not None:
            self._equal.keep((computed_by, row.same), outcome)


def once_more(feedback: feedback_pb2.Feedback, age_steps: int) -> feedback_pb2.Feedback:
    """An answer for whoever asks for its key again, with the age of now."""
    if age_steps <= feedback.age_steps:
        return feedback
    again = feedback_pb2.Feedback()
    again.CopyFrom(feedback)
    again.age_steps = age_steps
    return again


def feedback_of(
    row: Row,
    coach: str,
    outcome: Outcome,
    route: Route | None = None,
    inference_us: int = 0,
    cached: bool = False,
) -> feedback_pb2.Feedback:
    """The answer to a row.

    Args:
        row: The row.
        coach: The coach's name.
        outcome: A value, or why there is none.
        route: The model that it came from.
        inference_us: Time in that model, in microseconds.
        cached: It is the answer to an equal picture and context.
    """
    feedback = feedback_pb2.Feedback(
        key=row.key.to_wire(),
        coach=coach,
        queue_us=int(row.waited_s * 1e6),
        inference_us=inference_us,
        age_steps=row.age_steps,
        cached=cached,
    )
    if route is not None:
        feedback.model_id = route.model_id
        feedback.model_version = route.model_version
    if isinstance(outcome, feedback_pb2.ClipReward):
        feedback.clip_reward.CopyFrom(outcome)
    elif isinstance(outcome, feedback_pb2.VlmAction):
        feedback.vlm_action.CopyFrom(outcome)
    else:
        feedback.unavailable.CopyFrom(outcome)
    return feedback
