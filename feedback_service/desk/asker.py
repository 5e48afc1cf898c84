"""One Annotate stream at the desk: its requests in, its answers out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from codriver.v1 import feedback_pb2, feedback_service_pb2
from feedback_service.coaches.kind import unavailable
from feedback_service.desk.row import Row, RowKey

if TYPE_CHECKING:
    from feedback_service.desk.coach import CoachDesk
    from feedback_service.desk.desk import Desk

_LOG = logging.getLogger(__name__)


class Asker:
    """Asks for feedback; made by :meth:`Desk.open_stream`.

    Nothing here blocks. Every :meth:`ask` leads to exactly one call of ``answer``, at once or later, on the event loop.
    Nobody may change the message that ``answer`` is given: others may hold it.

    Args:
        desk: Where it asks.
        answer: Receives the answers.
    """

    def __init__(self, desk: Desk, answer: Callable[[feedback_pb2.Feedback], None]) -> None:
        self._desk = desk
        self._answer = answer
        self._rows: dict[Row, CoachDesk] = {}
        self._pending = 0
        self._closed = False

    @property
    def pending(self) -> int:
        """Requests that are not answered yet."""
        return self._pending

    @property
    def credits(self) -> int:
        """Requests, of sessions that are below their own limit, that surely are not refused for backlog now."""
        return self._desk.credits(self._pending)

    def ask(self, request: feedback_service_pb2.AnnotationRequest) -> None:
        """Asks a coach about an observation."""
        self._desk.metrics.asked(self._desk.label(request.coach))
        self._pending += 1
        if self._closed:
            self.refuse(request, feedback_pb2.UNAVAILABLE_REASON_CANCELLED, "the stream is closed")
        else:
            self._desk.ask(self, request)

    def progress(self, key: feedback_pb2.FeedbackKey) -> None:
        """Hears how far an environment has come."""
        self._desk.progress(RowKey.of(key))

    def cancel(self, keys: Iterable[feedback_pb2.FeedbackKey]) -> None:
        """Withdraws this stream's requests for some keys, at every coach: they end as CANCELLED."""
        for key in keys:
            name = RowKey.of(key)
            for coach in self._desk.coaches.values():
                row = coach.row_of(name)
                if row is not None:
                    coach.withdraw(row, self, "withdrawn")

    def close(self) -> None:
        """Withdraws every request of this stream.

        What nobody else waits for ends after ``Limits.reconnect_grace_s``, unless it is asked for again.
        """
        self._closed = True
        for row, coach in list(self._rows.items()):
            coach.withdraw(row, self, "the stream was closed", self._desk.limits.reconnect_grace_s)

    # For the desk.

    def join(self, row: Row, coach: CoachDesk) -> None:
        """Waits for a row of a coach, once more if it does already."""
        row.askers.append(self)
        row.stop_grace()
        self._rows[row] = coach

    def deliver(self, row: Row | None, feedback: feedback_pb2.Feedback) -> None:
        """Answers one request.

        Args:
            row: The row that it waited for, and waits for no more; None: it never came to one.
            feedback: The answer.
        """
        if row is not None:
            self._rows.pop(row, None)
        self._pending -= 1
        self._desk.metrics.answered(self._desk.label(feedback.coach), outcome_name(feedback), feedback.cached)
        try:
            self._answer(feedback)
        except Exception:  # noqa: BLE001 - one asker's fault is not the next one's
            _LOG.exception("an answer could not be handed over")

    def refuse(
        self,
        request: feedback_service_pb2.AnnotationRequest,
        reason: feedback_pb2.UnavailableReason,
        detail: str,
    ) -> None:
        """Answers a request that never came to a row."""
        outcome = unavailable(reason, detail)
        self.deliver(None, feedback_pb2.Feedback(key=request.key, coach=request.coach, unavailable=outcome))


def outcome_name(feedback: feedback_pb2.Feedback) -> str:
    """``"value"``, or the reason why there is none, as ``"timed_out"``."""
    if not feedback.HasField("unavailable"):
        return "value"
    name = feedback_pb2.UnavailableReason.Name(feedback.unavailable.reason)
    return name.removeprefix("UNAVAILABLE_REASON_").lower()
