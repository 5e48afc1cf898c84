"""One message from receipt to answer: its rows are judged, computed, looked up or refused, and answered together."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from agent_server.model.jobs import ActJob, Reply
from agent_server.sessions import replies
from agent_server.sessions.keys import Carrier
from agent_server.sessions.outcomes import GivenAction, Outcome, Refusal, StoredRow
from agent_server.sessions.session import Session
from codriver.v1 import action_pb2, agent_service_pb2, observation_pb2

_DEADLINE = action_pb2.FRAME_ERROR_REASON_DEADLINE_EXCEEDED


class Exchange:
    """A message and its answer.

    It is answered once: when the model has answered and every earlier message that it repeats rows of is answered, or
    at the session's deadline.

    Attributes:
        session: Whose message it is.
        request: The message.
        received: Monotonic time of receipt.
        message: The answer, a serialised ``DriveResponse``; None until there is one.
        job: Its rows that went to the model; None: no row did.
        asked: Rows of the message that the job holds, ascending. Empty: all, in order.
        outcomes: Outcome of each row, where not all rows went to the model; those that did are filled in last.
        repeats: Rows that repeat a key whose answer is still to come: row -> (exchange, its row).
    """

    __slots__ = (
        "_asked_rows",
        "_cancel",
        "_listeners",
        "_missing",
        "_parsed",
        "_timer",
        "asked",
        "job",
        "message",
        "outcomes",
        "received",
        "repeats",
        "request",
        "session",
    )

    def __init__(self, session: Session, request: observation_pb2.ObservationBatch) -> None:
        """Receives a message."""
        self.session, self.request = session, request
        self.received = time.monotonic()
        self.message: bytes | None = None
        self.job: ActJob | None = None
        self.asked: list[int] = []
        self.outcomes: list[Outcome] | None = None
        self.repeats: dict[int, tuple[Carrier, int]] = {}
        self._parsed: action_pb2.ActionBatch | None = None
        self._listeners: list[Callable[[bytes], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._missing = 0
        self._asked_rows = 0

    @property
    def deadline(self) -> float:
        """When the answer is due, on the monotonic clock; infinity: never."""
        limit = self.session.agreement.deadline_s
        return self.received + limit if limit else math.inf

    def row(self, row: int) -> StoredRow | None:
        """The answer to one row; None: not yet."""
        if self.message is None:
            return None
        if self._parsed is None:
            self._parsed = replies.parse(self.message)
        return StoredRow(self._parsed, row)

    def then(self, listener: Callable[[bytes], None]) -> None:
        """Calls back with the answer, at once when it is there."""
        if self.message is not None:
            listener(self.message)
        else:
            self._listeners.append(listener)

    def start(self, loop: asyncio.AbstractEventLoop, cancel: Callable[[ActJob], None]) -> None:
        """Begins to wait for what is missing; answers at once when nothing is.

        Args:
            loop: Wakes it at the deadline.
            cancel: Tells the engine that nobody waits for the job any more.
        """
        self._cancel = cancel
        self._asked_rows = self.job.rows if self.job is not None else 0
        self.session.rows_in_flight += self._asked_rows
        others = {id(exchange): exchange for exchange, _ in self.repeats.values()}
        self._missing = len(others) + (self.job is not None)
        for exchange in others.values():
            exchange.then(self._repeated_is_answered)
        if self._missing == 0:
            self._compose(None)
        elif self.session.agreement.deadline_s and self.message is None:
            self._timer = loop.call_at(self.deadline, self._expire)

    def model_answered(self, reply: Reply | None, error: BaseException | None) -> None:
        """Takes the model's answer, or the reason why there is none."""
        if self.message is not None:  # the deadline was first
            return
        self._missing -= 1
        if reply is None:
            self._fail(f"the model failed: {type(error).__name__}: {error}")
        elif self.outcomes is None:
            counts = self.session.counts
            counts.frames_ok += self._asked_rows - reply.errors
            counts.frames_error += reply.errors
            self._finish(reply.message)
        else:
            model = replies.parse(reply.message)
            for index, row in enumerate(self.asked):
                self.outcomes[row] = StoredRow(model, index)
            self._parsed = model
            if self._missing == 0:
                self._compose(model)

    def _repeated_is_answered(self, _: bytes) -> None:
        self._missing -= 1
        if self._missing == 0 and self.message is None:
            self._compose(self._parsed)

    def _fail(self, why: str) -> None:
        """Every row that went to the model gets an error."""
        outcomes = self._all_outcomes()
        for row in self.asked:
            outcomes[row] = Refusal(action_pb2.FRAME_ERROR_REASON_POLICY_FAILED, "", why[:500])
        if self._missing == 0:
            self._compose(None)

    def _expire(self) -> None:
        """The deadline has come: what is missing gets the session's fallback."""
        if self.job is not None:
            self._cancel(self.job)
        outcomes = self._all_outcomes()
        for row in self.asked:
            if outcomes[row] is None:
                outcomes[row] = self._late(row)
        for row, (exchange, _) in self.repeats.items():
            if exchange.message is None:
                outcomes[row] = self._late(row)
        self._compose(self._parsed)

    def _all_outcomes(self) -> list[Outcome]:
        if self.outcomes is None:
            rows = len(self.request.env)
            self.outcomes, self.asked = [None] * rows, list(range(rows))
        return self.outcomes

    def _late(self, row: int) -> Outcome:
        agreement = self.session.agreement
        brake = replies.brake_action(agreement.action_spec)
        if agreement.fallback == action_pb2.FALLBACK_HOLD:
            record = self.session.records[self.request.env[row]]
            if record.before is not None and record.exchange is self:
                held = record.before[0].row(record.before[1])
                if held is not None and held.status in (replies.OK, replies.HOLD, replies.BRAKE):
                    return GivenAction(replies.HOLD, held.action(agreement.layout.dims))
        if agreement.fallback in (action_pb2.FALLBACK_HOLD, action_pb2.FALLBACK_BRAKE) and brake is not None:
            return GivenAction(replies.BRAKE, brake)
        started = self.job.started if self.job is not None else 0.0
        now = time.monotonic()
        queue_ms = ((started or now) - self.received) * 1e3
        model_ms = (now - started) * 1e3 if started else 0.0
        detail = (
            f"no action within {agreement.deadline_s * 1e3:.0f} ms: {queue_ms:.1f} ms in the queue, "
            f"{model_ms:.1f} ms in the model"
        )
        return Refusal(_DEADLINE, "", detail)

    def _compose(self, model: action_pb2.ActionBatch | None) -> None:
        outcomes = self._all_outcomes()
        for row, (exchange, other) in self.repeats.items():
            if outcomes[row] is None:
                outcomes[row] = exchange.row(other)
        response = replies.compose(self.request, outcomes, self.session.agreement.layout.dims, model)
        self._parsed = response.actions
        self._count(response)
        self._finish(response.SerializeToString())

    def _count(self, response: agent_service_pb2.DriveResponse) -> None:
        counts = self.session.counts
        for status in response.actions.status:
            if status == replies.OK:
                counts.frames_ok += 1
            elif status == replies.ERROR:
                counts.frames_error += 1
            elif status == replies.END:
                counts.episodes += 1
            else:
                counts.frames_fallback += 1

    def _finish(self, message: bytes) -> None:
        self.message = message
        if self.session.feedback is not None:
            self.session.feedback.answered(self)
        self.job, self.repeats = None, {}  # an answered message holds no other, nor its rows twice
        if self._timer is not None:
            self._timer.cancel()
        self.session.rows_done(self._asked_rows)
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(message)
