"""Calls a coach's model: as soon as rows wait and a call is free, never later, and never for more rows than there are.

Triton joins what arrives together, so nothing waits here to fill a batch. All of it runs on one event loop; there is a
task per call and none per row.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

from codriver.v1 import feedback_pb2
from feedback_service.asking.breaker import Breaker, BreakerState
from feedback_service.asking.budget import RetryBudget
from feedback_service.asking.call import Call
from feedback_service.coaches.kind import CoachKind, Outcome, model_error, unavailable
from feedback_service.desk.metrics import Metrics
from feedback_service.desk.row import Row, RowState
from feedback_service.desk.settings import CoachSettings, Limits, Route
from feedback_service.triton.client import TritonClient, TritonError, TritonReason

_LOG = logging.getLogger(__name__)
_READY_TIMEOUT_S = 5.0
_SLACK_S = 0.25
"""Calls may last so much longer than their rows wait: a row's own timer ends it first."""


class Waiting(Protocol):
    """The rows of a coach, for its dispatcher."""

    def take(self, most: int) -> list[Row]:
        """Takes up to so many rows that are worth a call out of the queue."""

    def settle(self, row: Row, outcome: Outcome, route: Route | None = None, inference_us: int = 0) -> None:
        """Answers a row."""

    def refuse_all(self, outcome: feedback_pb2.Unavailable) -> None:
        """Answers every row that is not in a call."""

    def tell_queue(self) -> None:
        """Counts the rows that wait and the ones in calls."""


class Dispatcher:
    """The calls of one coach.

    Args:
        settings: The coach.
        kind: What is particular to its kind.
        client: The way to Triton.
        limits: Limits of the desk.
        metrics: Where to count.
        waiting: The coach's rows.
        unhealthy: Called with one line whenever the model is found to be down.

    Attributes:
        route: The model for new calls; None: there is none.
        breaker: Whether it is worth calling.
    """

    def __init__(
        self,
        settings: CoachSettings,
        kind: CoachKind,
        client: TritonClient,
        limits: Limits,
        metrics: Metrics,
        waiting: Waiting,
        unhealthy: Callable[[str], None],
    ) -> None:
        self.route: Route | None = None
        self.breaker = _new_breaker(limits)
        self._settings = settings
        self._kind = kind
        self._client = client
        self._limits = limits
        self._metrics = metrics
        self._waiting = waiting
        self._unhealthy = unhealthy
        self._no_route = "no model is loaded yet"
        self._budget = RetryBudget(limits.retry_share)
        self._calls: set[Call] = set()
        self._again: deque[list[Row]] = deque()
        self._in_flight = 0
        self._woken = False
        self._told_state = BreakerState.CLOSED
        self._prober: asyncio.Task[None] | None = None
        # Timeouts that clients choose say little of the model; the coach's own is what it should need at most.
        self._hung_s = settings.timeout_ms / 2000

    @property
    def closed_detail(self) -> str | None:
        """Why no row can be answered now; None: it can."""
        if self.route is None:
            return self._no_route
        if self.breaker.state is BreakerState.OPEN:
            return f"{self.route.model_id} is known to be down: {self.breaker.detail}"
        return None

    @property
    def rows_in_calls(self) -> int:
        """Rows in calls, of the present route and of earlier ones."""
        return sum(len(call.rows) for call in self._calls)

    def wake(self) -> None:
        """Rows wait. They are called at the end of this turn of the loop, so that a burst goes together."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._call_what_waits)

    async def switch(self, route: Route | None, detail: str) -> None:
        """Uses another model from now on; returns when the calls of the one before have ended."""
        before = [call.task for call in self._calls if call.task is not None]
        self.route = route
        self._no_route = detail or "no model is loaded"
        self._in_flight = 0
        self._stop_probing()
        self.breaker = _new_breaker(self._limits)
        self._tell_state()
        if route is None:
            self._refuse_waiting()
        else:
            self.wake()
        if before:
            await asyncio.wait(before)

    def probe(self) -> None:
        """Looks at once whether a model that is down is up again."""
        if self.breaker.state is BreakerState.OPEN:
            self._stop_probing()
            self._start_probing(at_once=True)

    async def close(self) -> None:
        """Ends every call; rows that still wait are not answered by this."""
        self._stop_probing()
        self.route, self._no_route = None, "the service stops"
        tasks = [call.task for call in self._calls if call.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Rows to calls.

    def _call_what_waits(self) -> None:
        self._woken = False
        while self.route is not None and self.breaker.state is not BreakerState.OPEN:
            trial = self.breaker.state is BreakerState.HALF_OPEN
            if self._in_flight >= (1 if trial else self._settings.max_calls_in_flight):
                break
            rows = self._next_rows(1 if trial else self._settings.max_rows_per_call)
            if not rows:
                break
            self._start(self.route, rows)
        self._waiting.tell_queue()

    def _next_rows(self, most: int) -> list[Row]:
        while self._again:
            rows = [row for row in self._again.popleft() if row.state is RowState.IDLE]
            if len(rows) > most:
                self._again.appendleft(rows[most:])
            if rows:
                return rows[:most]
        return self._waiting.take(most)

    def _start(self, route: Route, rows: list[Row]) -> None:
        loop = asyncio.get_running_loop()
        if not rows[0].attempts:
            self._budget.called()
        call = Call(route, self.breaker, rows, loop.time())
        self._calls.add(call)
        self._in_flight += 1
        call.task = loop.create_task(self._run(call))
        # Not in the task itself: one that is cancelled before its first step never runs.
        call.task.add_done_callback(functools.partial(self._ended, call))

    async def _run(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        rows = call.rows
        timeout_s = max(row.deadline for row in rows) - call.started_at + _SLACK_S
        result = "ok"
        try:
            inputs = self._kind.inputs(rows)
            answer = await self._client.infer(call.route.model, inputs, self._kind.outputs, timeout_s)
            outcomes = self._kind.outcomes(rows, answer.outputs)
        except TritonError as error:
            call.ended = True
            result = error.reason.value
            self._failed(call, error)
        except asyncio.CancelledError:
            result = "cancelled"
            self._count_silence(call)
            raise
        else:
            call.ended = True
            call.breaker.succeeded()
            self._tell_state()
            for row, outcome in zip(rows, outcomes):
                if row.call is call:
                    self._waiting.settle(row, outcome, call.route, answer.inference_us)
        finally:
            self._metrics.called(self._settings.name, len(rows), loop.time() - call.started_at, result)

    def _ended(self, call: Call, task: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        call.ended = True
        if call.breaker is self.breaker:
            self._in_flight -= 1
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("a call of coach %s failed", self._settings.name, exc_info=task.exception())
        for row in call.unanswered():
            # Only after a fault of our own or of a library: the key ends in an answer all the same.
            self._waiting.settle(row, model_error("the service failed; its log says more"), call.route)
        self.wake()

    # What failed.

    def _failed(self, call: Call, error: TritonError) -> None:
        of_model = error.reason in (TritonReason.MODEL_ERROR, TritonReason.BAD_ANSWER)
        if of_model and len(call.rows) > 1 and self.closed_detail is None:
            # One row may have spoiled it for all: each goes on alone, and only then counts against the model.
            rows = call.unanswered()
            self._take_back(rows)
            self._call_again([[row] for row in rows])
            return
        if error.reason is TritonReason.TIMED_OUT:
            self._count_silence(call)
        else:
            self._count_failure(call, str(error), certain=error.reason is TritonReason.NOT_LOADED)
        rows = call.unanswered()
        if error.reason is TritonReason.TIMED_OUT:
            self._settle(rows, feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT, "the model did not answer in time")
        elif of_model:
            self._settle(rows, feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR, error.detail, call.route)
        elif error.reason is not TritonReason.UNREACHABLE or not self._may_retry(rows):
            self._settle(rows, feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED, str(error))
        else:
            self._take_back(rows)
            pause_s = self._limits.retry_pause_s * 2 ** (rows[0].attempts - 1) * random.uniform(0.5, 1.5)
            asyncio.get_running_loop().call_later(pause_s, self._call_again, [rows])

    def _may_retry(self, rows: list[Row]) -> bool:
        return (
            bool(rows)
            and self.closed_detail is None
            and rows[0].attempts < self._limits.max_attempts
            and self._budget.take()
        )

    def _take_back(self, rows: list[Row]) -> None:
        self._metrics.retried(self._settings.name, len(rows))
        for row in rows:
            row.call = None
            row.state = RowState.IDLE

    def _call_again(self, groups: list[list[Row]]) -> None:
        self._again.extend(groups)
        self.wake()

    def _settle(
        self,
        rows: list[Row],
        reason: feedback_pb2.UnavailableReason,
        detail: str,
        route: Route | None = None,
    ) -> None:
        outcome = unavailable(reason, detail)
        for row in rows:
            self._waiting.settle(row, outcome, route)

    def _refuse_waiting(self) -> None:
        self._again.clear()
        detail = self.closed_detail or ""
        self._waiting.refuse_all(unavailable(feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED, detail))

    # Whether the model is worth calling.

    def _count_silence(self, call: Call) -> None:
        """A call that ended without an answer says something of the model if that took long enough."""
        if asyncio.get_running_loop().time() - call.started_at >= self._hung_s:
            self._count_failure(call, f"no answer within {self._hung_s:g} s")

    def _count_failure(self, call: Call, detail: str, certain: bool = False) -> None:
        if not call.breaker.failed(detail, certain) or call.breaker is not self.breaker:
            return
        _LOG.warning("coach %s: its model is down: %s", self._settings.name, detail)
        self._tell_state()
        self._refuse_waiting()
        self._start_probing()
        self._unhealthy(detail)

    def _tell_state(self) -> None:
        if self.breaker.state is not self._told_state:
            self._told_state = self.breaker.state
            self._metrics.breaker_changed(self._settings.name, self._told_state.value)

    def _start_probing(self, at_once: bool = False) -> None:
        self._stop_probing()
        self._prober = asyncio.get_running_loop().create_task(self._probe(self.breaker, at_once))

    def _stop_probing(self) -> None:
        if self._prober is not None:
            self._prober.cancel()
            self._prober = None

    async def _probe(self, breaker: Breaker, at_once: bool) -> None:
        while breaker is self.breaker and self.route is not None and breaker.state is BreakerState.OPEN:
            if not at_once:
                await asyncio.sleep(breaker.next_pause_s())
            at_once = False
            try:
                ready = await self._client.model_ready(self.route.model, _READY_TIMEOUT_S)
            except Exception:  # noqa: BLE001 - without its prober, a model would count as down for ever
                _LOG.exception("coach %s: its model could not be probed", self._settings.name)
                ready = False
            breaker.probed(ready)
            self._tell_state()
        self.wake()


def _new_breaker(limits: Limits) -> Breaker:
    return Breaker(limits.breaker_failures, limits.breaker_pause_s, limits.breaker_longest_pause_s)
