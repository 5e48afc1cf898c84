"""Feedback made or judged on the asker's side: keys as tuples, endings without a value, a check of answers."""

from __future__ import annotations

import math
from typing import NamedTuple

from codriver.coaching.vocabulary import ANCHORS
from codriver.v1 import feedback_pb2

_VALUE_OF_KIND = {
    feedback_pb2.FEEDBACK_KIND_VLM_ACTION: "vlm_action",
    feedback_pb2.FEEDBACK_KIND_CLIP_REWARD: "clip_reward",
}
_TOLERANCE = 1e-3
"""What rounding may do to a probability's sum or to a control's range."""


class Asked(NamedTuple):
    """What a request is known by: coach and key, hashable."""

    coach: str
    session_id: str
    env: int
    episode: int
    step: int

    @staticmethod
    def of(coach: str, key: feedback_pb2.FeedbackKey) -> Asked:
        """From a coach's name and a key."""
        return Asked(coach, key.session_id, key.env, key.episode, key.step)

    def key(self) -> feedback_pb2.FeedbackKey:
        """The key alone, as a message."""
        return feedback_pb2.FeedbackKey(
            session_id=self.session_id, env=self.env, episode=self.episode, step=self.step
        )


def unavailable(asked: Asked, reason: feedback_pb2.UnavailableReason, detail: str) -> feedback_pb2.Feedback:
    """The one answer to a request that ends here without a value.

    Args:
        asked: The request.
        reason: Why, by name.
        detail: Why, in one line for people.
    """
    return feedback_pb2.Feedback(
        key=asked.key(),
        coach=asked.coach,
        unavailable=feedback_pb2.Unavailable(reason=reason, detail=detail[:500]),
    )


def fault(feedback: feedback_pb2.Feedback, kind: feedback_pb2.FeedbackKind) -> str:
    """What is wrong with an answer, in one line; empty when it keeps the contract.

    Args:
        feedback: As received.
        kind: The ``FeedbackKind`` that was asked.
    """
    outcome = feedback.WhichOneof("outcome")
    if outcome == "unavailable":
        return "" if feedback.unavailable.reason else "the answer is unavailable without a reason"
    if outcome is None:
        return "the answer has no outcome"
    if outcome != _VALUE_OF_KIND.get(kind):
        return f"the answer is {outcome}, which was not asked"
    if outcome == "vlm_action":
        action = feedback.vlm_action
        ranges = (
            ("throttle", action.throttle, 0.0),
            ("steer", action.steer, -1.0),
            ("brake", action.brake, 0.0),
        )
        for name, value, low in ranges:
            if not low - _TOLERANCE <= value <= 1 + _TOLERANCE:  # NaN is in no range
                return f"{name} is {value}, outside {low:g} to 1"
        return ""
    probabilities = feedback.clip_reward.anchor_probabilities
    if len(probabilities) != ANCHORS:
        return f"the answer has {len(probabilities)} probabilities, not {ANCHORS}"
    total = sum(probabilities)
    if not math.isfinite(total) or abs(total - 1) > 10 * _TOLERANCE or min(probabilities) < -_TOLERANCE:
        return f"the probabilities are none: their sum is {total:g}"
    return ""
