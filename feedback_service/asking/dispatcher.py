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
from feedback_service.asking.breaker import BreakerState
from feedback_service.asking.budget import RetryBudget
from feedback_service.asking.call import Call
from feedback_service.asking.health import ModelHealth
from feedback_service.coaches.kind import CoachKind, Outcome, model_error, unavailable
from feedback_service.desk.metrics import Metrics
from feedback_service.desk.row import Row, RowState
from feedback_service.desk.settings import CoachSettings, Limits, Route
from feedback_service.triton.client import TritonClient, TritonError, TritonReason

_LOG = logging.getLogger(__name__)
_SLACK_S = 0.25
"""Calls may last so much longer than their rows wait: a row's own timer ends it first."""


class Waiting(Protocol):
    """The rows of a coach, for its dispatcher."""

    def take(self, most: int, needed_s: float, idle: bool) -> list[Row]:
        """Takes up to so many rows that are worth a call, which takes that time, out of the queue."""

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
        self._settings = settings
        self._kind = kind
        self._client = client
        self._limits = limits
        self._metrics = metrics
        self._waiting = waiting
        self._unhealthy = unhealthy
        self._model: ModelHealth | None = None
        self._no_model = "no model is loaded yet"
        self._budget = RetryBudget(limits.retry_share)
        self._calls: set[Call] = set()
        self._again: deque[list[Row]] = deque()
        self._in_flight = 0
        self._woken = False

    @property
    def route(self) -> Route | None:
        """The model for new calls; None: there is none."""
        return None if self._model is None else self._model.route

    @property
    def closed_detail(self) -> str | None:
        """Why no row can be answered now; None: it can."""
        return self._no_model if self._model is None else self._model.down_detail

    @property
    def rows_in_calls(self) -> int:
        """Rows in calls, of the present model and of earlier ones."""
        return sum(len(call.rows) for call in self._calls)

    def wake(self) -> None:
        """Rows wait. They are called at the end of this turn of the loop, so that a burst goes together."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._call_what_waits)

    async def switch(self, route: Route | None, detail: str) -> None:
        """Uses another model from now on; returns when the calls of the one before have ended."""
        before = [call.task for call in self._calls if call.task is not None]
        if self._model is not None:
            self._model.retire()
            if self._model.state is not BreakerState.CLOSED:
                self._metrics.breaker_changed(self._settings.name, BreakerState.CLOSED.value)
        self._in_flight = 0
        if route is None:
            self._model, self._no_model = None, detail or "no model is loaded"
            self._refuse_waiting()
        else:
            self._model = ModelHealth(
                route, self._settings, self._client, self._limits, self._metrics, self._is_down, self.wake
            )
            self.wake()
        if before:
            await asyncio.wait(before)

    def probe(self) -> None:
        """Looks at once whether a model that is down is up again."""
        if self._model is not None:
            self._model.probe()

    async def close(self) -> None:
        """Ends every call; rows that still wait are not answered by this."""
        if self._model is not None:
            self._model.retire()
        self._model, self._no_model = None, "the service stops"
        tasks = [call.task for call in self._calls if call.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Rows to calls.

    def _call_what_waits(self) -> None:
        self._woken = False
        while self._model is not None and self._model.state is not BreakerState.OPEN:
            trial = self._model.state is BreakerState.HALF_OPEN
            if self._in_flight >= (1 if trial else self._settings.max_calls_in_flight):
                break
            needed_s = self._model.latency.expected_s(asyncio.get_running_loop().time())
            rows = self._next_rows(1 if trial else self._settings.max_rows_per_call, needed_s)
            if not rows:
                break
            self._start(self._model, rows)
        self._waiting.tell_queue()

    def _next_rows(self, most: int, needed_s: float) -> list[Row]:
        while self._again:
            rows = [row for row in self._again.popleft() if row.state is RowState.IDLE]
            if len(rows) > most:
                self._again.appendleft(rows[most:])
            if rows:
                return rows[:most]
        return self._waiting.take(most, needed_s, idle=not self._in_flight)

    def _start(self, model: ModelHealth, rows: list[Row]) -> None:
        loop = asyncio.get_running_loop()
        if not rows[0].attempts:
            self._budget.called()
        call = Call(model, rows, loop.time())
        self._calls.add(call)
        self._in_flight += 1
        call.task = loop.create_task(self._run(call))
        # Not in the task itself: one that is cancelled before its first step never runs.
        call.task.add_done_callback(functools.partial(self._ended, call))

    async def _run(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        rows, route = call.rows, call.model.route
        timeout_s = max(row.deadline for row in rows) - call.started_at + _SLACK_S
        result = "ok"
        try:
            inputs = self._kind.inputs(rows)
            answer = await self._client.infer(route.model, inputs, self._kind.outputs, timeout_s)
            outcomes = self._kind.outcomes(rows, answer.outputs)
        except TritonError as error:
            call.ended = True
            result = error.reason.value
            self._failed(call, error)
        except asyncio.CancelledError:
            result = "cancelled"
            self._silent(call)
            raise
        else:
            call.ended = True
            now = loop.time()
            call.model.succeeded(now - call.started_at, now)
            # On the model too: what its earlier version has answered is not in the cache for this one.
            route = call.model.route = route.answered_by(answer.model_version)
            for row, outcome in zip(rows, outcomes):
                if row.call is call:
                    self._waiting.settle(row, outcome, route, answer.inference_us)
        finally:
            self._metrics.called(self._settings.name, len(rows), loop.time() - call.started_at, result)

    def _ended(self, call: Call, task: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        call.ended = True
        if call.model is self._model:
            self._in_flight -= 1
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("a call of coach %s failed", self._settings.name, exc_info=task.exception())
        for row in call.unanswered():
            # Only after a fault of our own or of a library: the key ends in an answer all the same.
            self._waiting.settle(row, model_error("the service failed; its log says more"), call.model.route)
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
            self._silent(call)
        else:
            call.model.failed(str(error), certain=error.reason is TritonReason.NOT_LOADED)
        rows = call.unanswered()
        if error.reason is TritonReason.TIMED_OUT:
            self._settle(rows, feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT, "the model did not answer in time")
        elif of_model:
            reason = feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR
            self._settle(rows, reason, error.detail, call.model.route)
        elif error.reason is TritonReason.UNREACHABLE and self._may_retry(rows):
            self._take_back(rows)
            pause_s = self._limits.retry_pause_s * 2 ** (rows[0].attempts - 1) * random.uniform(0.5, 1.5)
            asyncio.get_running_loop().call_later(pause_s, self._call_again, [rows])
        else:
            self._settle(rows, feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED, str(error))

    def _silent(self, call: Call) -> None:
        now = asyncio.get_running_loop().time()
        call.model.silent(now - call.started_at, now)

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

    def _is_down(self, detail: str) -> None:
        self._refuse_waiting()
        self._unhealthy(detail)

    def _refuse_waiting(self) -> None:
        self._again.clear()
        detail = self.closed_detail or ""
        self._waiting.refuse_all(unavailable(feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED, detail))
