"""How rows end without a value at the desk, in words."""

from __future__ import annotations

from codriver.v1 import feedback_pb2
from feedback_service.coaches.kind import unavailable
from feedback_service.desk.row import Row, RowState
from feedback_service.desk.settings import CoachSettings


def expired(row: Row) -> feedback_pb2.Unavailable:
    """At its deadline."""
    where = "its call" if row.state is RowState.CALLING else "the queue"
    detail = f"no answer within {row.deadline - row.asked_at:g} s; it was in {where}"
    return unavailable(feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT, detail)


def too_late(row: Row, now: float, needed_s: float) -> feedback_pb2.Unavailable:
    """Before its deadline, since no answer can come by then."""
    left_s = max(0.0, row.deadline - now)
    detail = f"an answer would come too late: {left_s:.3g} s left, the model takes {needed_s:.3g} s"
    return unavailable(feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT, detail)


def stale(row: Row) -> feedback_pb2.Unavailable:
    """Older than its asker wants it to be."""
    detail = f"{row.age_steps} steps old; at most {row.max_age_steps} were wanted"
    return unavailable(feedback_pb2.UNAVAILABLE_REASON_STALE, detail)


def queue_full(settings: CoachSettings) -> feedback_pb2.Unavailable:
    """No room at its coach."""
    detail = f"{settings.max_queued} rows wait for coach {settings.name!r}"
    return unavailable(feedback_pb2.UNAVAILABLE_REASON_BACKLOG, detail)


def session_full(most: int) -> feedback_pb2.Unavailable:
    """Its session has as many as it may."""
    detail = f"the session has {most} unanswered requests"
    return unavailable(feedback_pb2.UNAVAILABLE_REASON_BACKLOG, detail)
