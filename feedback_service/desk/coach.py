"""One coach at the desk: from a request to a row, from a row to its one answer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

from codriver.v1 import feedback_pb2, feedback_service_pb2
from feedback_service.asking.dispatcher import Dispatcher
from feedback_service.coaches.kind import CoachKind, Outcome, unavailable
from feedback_service.desk import endings
from feedback_service.desk.asker import Asker
from feedback_service.desk.fair_queue import FairQueue
from feedback_service.desk.memory import Memory, feedback_of, once_more
from feedback_service.desk.metrics import Metrics
from feedback_service.desk.row import Row, RowKey, RowState
from feedback_service.desk.settings import CoachSettings, Limits, Route
from feedback_service.desk.ways import EnvironmentWay
from feedback_service.triton.client import TritonClient

_LOG = logging.getLogger(__name__)


class CoachDesk:
    """One coach.

    Args:
        settings: Its settings.
        kind: What is particular to its kind.
        client: The way to Triton.
        limits: Limits of the desk.
        metrics: Where to count.
        pending: Unanswered rows of each session at all coaches; kept by the coaches together.

    Attributes:
        settings: Its settings.
        on_unhealthy: Called with one line whenever the model is found to be down; whoever can do something about it
            may set it.
    """

    def __init__(
        self,
        settings: CoachSettings,
        kind: CoachKind,
        client: TritonClient,
        limits: Limits,
        metrics: Metrics,
        pending: dict[str, int],
    ) -> None:
        self.settings = settings
        self.kind = kind
        self.on_unhealthy: Callable[[str], None] | None = None
        self._limits = limits
        self._metrics = metrics
        self._session_pending = pending
        self._rows: dict[RowKey, Row] = {}
        self._queue = FairQueue()
        self._memory = Memory(limits.answers_kept, settings.cache_entries)
        self._dispatcher = Dispatcher(settings, kind, client, limits, metrics, self, self._report_unhealthy)

    @property
    def route(self) -> Route | None:
        """The model that answers."""
        return self._dispatcher.route

    @property
    def queued(self) -> int:
        """Rows that wait for a call."""
        return len(self._queue)

    @property
    def unanswered(self) -> int:
        """Rows that wait for a call or for its answer."""
        return len(self._rows)

    @property
    def room(self) -> int:
        """Rows that may still be queued."""
        return max(0, self.settings.max_queued - len(self._queue))

    def info(self) -> feedback_service_pb2.CoachInfo:
        """What it is and can do now."""
        route, closed = self.route, self._dispatcher.closed_detail
        return feedback_service_pb2.CoachInfo(
            coach=self.settings.name,
            kind=self.settings.kind,
            model_id=route.model_id if route else "",
            model_version=route.model_version if route else "",
            ready=closed is None,
            detail=closed or "",
            picture_spec=self.settings.picture_spec,
        )

    async def switch(self, route: Route | None, detail: str = "") -> None:
        """Lets another model answer.

        Args:
            route: The model for every call from now on; None: every row that waits is answered MODEL_NOT_LOADED.
            detail: Why there is none, for people.

        Returns:
            When the calls of the model before have ended.
        """
        await self._dispatcher.switch(route, detail)

    def probe(self) -> None:
        """Looks at once whether a model that is down is up again, as after its restart."""
        self._dispatcher.probe()

    async def close(self) -> None:
        """Answers everything with RESTARTED and ends every call."""
        outcome = unavailable(feedback_pb2.UNAVAILABLE_REASON_RESTARTED, "the service stops")
        for row in list(self._rows.values()):
            self.settle(row, outcome)
        await self._dispatcher.close()

    # Requests.

    def ask(
        self,
        asker: Asker,
        request: feedback_service_pb2.AnnotationRequest,
        key: RowKey,
        way: EnvironmentWay,
    ) -> None:
        """Takes in a request that is well formed."""
        told = self.kind.told(request.context)
        picture_hash = hashlib.blake2b(request.picture, digest_size=16).digest()
        fingerprint = picture_hash + request.context.SerializeToString(deterministic=True)
        row = self._rows.get(key)
        kept = self._memory.answer(key) if row is None else None
        asked = kept[0] if kept else row.fingerprint if row else fingerprint
        if asked != fingerprint:
            detail = "key: was asked before with another picture or context"
            asker.refuse(request, feedback_pb2.UNAVAILABLE_REASON_INVALID_REQUEST, detail)
            return
        if row is not None:
            asker.join(row, self)
            return
        if kept is not None:
            asker.deliver(None, once_more(kept[1], way.age(way.position(key.episode, key.step))))
            return
        now = asyncio.get_running_loop().time()
        timeout_ms = min(request.timeout_ms or self.settings.timeout_ms, self._limits.max_timeout_ms)
        row = Row(
            key=key,
            picture=request.picture,
            told=told,
            same=(picture_hash, told),
            fingerprint=fingerprint,
            max_age_steps=request.max_age_steps,
            way=way,
            asked_at=now,
            deadline=now + timeout_ms / 1000,
        )
        equal = self._memory.equal(row, self.route)
        if equal is not None:
            self._admit(asker, row)
            self.settle(row, equal, self.route, cached=True)
            return
        refusal = self._refusal(key.session_id)
        outgoing = None
        if refusal is None and not self.room:
            refusal = endings.queue_full(self.settings)
            outgoing = self._queue.last_of_the_longest(key.session_id)
        if refusal is not None and outgoing is None:
            asker.refuse(request, refusal.reason, refusal.detail)
            return
        self._admit(asker, row)
        self._queue.add(row)
        row.state = RowState.QUEUED
        row.timer = asyncio.get_running_loop().call_at(row.deadline, self._expire, row)
        self._dispatcher.wake()
        if refusal is not None and outgoing is not None:
            # Last, since its asker may do anything when it hears of it.
            self.settle(outgoing, refusal)

    def drop_stale(self, key: RowKey) -> None:
        """An environment has come further: what waits too long in its queue ends."""
        while (row := self._queue.first_of(key.session_id, key.env)) is not None and row.stale:
            self.settle(row, endings.stale(row))

    def withdraw(self, row: Row, asker: Asker, detail: str, grace_s: float = 0.0) -> None:
        """An asker does not want a row any more.

        Args:
            row: The row.
            asker: Who waited for it.
            detail: Why not any more.
            grace_s: What nobody else waits for ends after that time, unless it is asked for again.
        """
        outcome = unavailable(feedback_pb2.UNAVAILABLE_REASON_CANCELLED, detail)
        others = [other for other in row.askers if other is not asker]
        if not others and not grace_s:
            self.settle(row, outcome)
            return
        asked, row.askers = len(row.askers) - len(others), others
        if not others:
            row.grace = asyncio.get_running_loop().call_later(grace_s, self.settle, row, outcome)
        feedback = feedback_of(row, self.settings.name, outcome)
        for _ in range(asked):
            asker.deliver(row, feedback)

    def row_of(self, key: RowKey) -> Row | None:
        """The unanswered row of a key."""
        return self._rows.get(key)

    def _admit(self, asker: Asker, row: Row) -> None:
        self._rows[row.key] = row
        session_id = row.key.session_id
        self._session_pending[session_id] = self._session_pending.get(session_id, 0) + 1
        asker.join(row, self)

    def _refusal(self, session_id: str) -> feedback_pb2.Unavailable | None:
        closed = self._dispatcher.closed_detail
        if closed is not None:
            return unavailable(feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED, closed)
        most = self._limits.max_pending_per_session
        if self._session_pending.get(session_id, 0) >= most:
            return endings.session_full(most)
        return None

    # Rows, for the dispatcher.

    def take(self, most: int, needed_s: float, idle: bool) -> list[Row]:
        """Takes up to so many rows that are worth a call out of the queue; what is not costs no session its turn.

        Args:
            most: Rows to take.
            needed_s: Time that a call is expected to take. Rows that have less left end here.
            idle: The model has nothing to do: rather a row that has less left than none, since expectations may be old.
        """
        now = asyncio.get_running_loop().time()
        rows: list[Row] = []
        late: list[Row] = []
        while len(rows) < most and len(self._queue):
            row = self._queue.pop()
            row.state = RowState.IDLE
            row.waited_s = now - row.asked_at
            equal = self._memory.equal(row, self.route)
            if row.stale:
                self.settle(row, endings.stale(row))
            elif equal is not None:
                self.settle(row, equal, self.route, cached=True)
            elif row.deadline - now > needed_s:
                rows.append(row)
                self._queue.pass_turn(row)
            else:
                late.append(row)
        if late and idle and not rows:
            rows.append(late.pop(max(range(len(late)), key=lambda index: late[index].deadline)))
        for row in rows:
            self._metrics.waited(self.settings.name, row.waited_s)
        for row in late:
            self.settle(row, endings.too_late(row, now, needed_s))
        # An answer above may have led its asker to withdraw another row.
        return [row for row in rows if row.state is RowState.IDLE]

    def settle(
        self,
        row: Row,
        outcome: Outcome,
        route: Route | None = None,
        inference_us: int = 0,
        cached: bool = False,
    ) -> None:
        """Ends a row: everyone who asked for it is answered. One that has ended stays as it is."""
        if row.state is RowState.DONE:
            return
        if row.state is RowState.QUEUED:
            self._queue.remove(row)
            row.waited_s = asyncio.get_running_loop().time() - row.asked_at
            self.tell_queue()
        elif row.call is not None:
            row.call.leave(row)
        row.state = RowState.DONE
        row.stop_grace()
        if row.timer is not None:
            row.timer.cancel()
        del self._rows[row.key]
        self._forget_pending(row.key.session_id)
        row.picture = b""
        feedback = feedback_of(row, self.settings.name, outcome, route, inference_us, cached)
        self._memory.keep(row, outcome, feedback, None if cached else route)
        for asker in row.askers:
            asker.deliver(row, feedback)

    def refuse_all(self, outcome: feedback_pb2.Unavailable) -> None:
        """Answers every row that is not in a call."""
        for row in [row for row in self._rows.values() if row.state is not RowState.CALLING]:
            self.settle(row, outcome)

    def tell_queue(self) -> None:
        """Counts the rows that wait and the ones in calls."""
        self._metrics.queue_changed(self.settings.name, len(self._queue), self._dispatcher.rows_in_calls)

    def _expire(self, row: Row) -> None:
        self.settle(row, endings.expired(row))

    def _forget_pending(self, session_id: str) -> None:
        left = self._session_pending[session_id] - 1
        if left:
            self._session_pending[session_id] = left
        else:
            del self._session_pending[session_id]

    def _report_unhealthy(self, detail: str) -> None:
        if self.on_unhealthy is None:
            return
        try:
            self.on_unhealthy(detail)
        except Exception:  # noqa: BLE001 - rows go on being answered, whatever the listener does
            _LOG.exception("coach %s: whoever was told that its model is down failed", self.settings.name)
