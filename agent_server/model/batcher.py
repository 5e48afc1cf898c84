"""The work-conserving batcher: messages of rows in, one model pass after another, one report a pass."""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

_log = logging.getLogger(__name__)


class Job(Protocol):
    """One message's rows, as the batcher sees them.

    Attributes:
        cancelled: True: nobody waits any more; set by the owner, from any thread.
    """

    cancelled: bool

    @property
    def lane(self) -> Hashable:
        """Jobs of different lanes (policy versions) never share a pass."""

    @property
    def rows(self) -> int:
        """Number of rows, at least 1."""

    @property
    def deadline(self) -> float:
        """``time.monotonic()`` by which the answer is due; ``math.inf`` for none."""


JobT = TypeVar("JobT", bound=Job)


@dataclass(slots=True)
class Part(Generic[JobT]):
    """Rows ``start`` to ``stop`` of a job, in one pass."""

    job: JobT
    start: int
    stop: int

    @property
    def last(self) -> bool:
        """True when the job ends with this part."""
        return self.stop == self.job.rows


@dataclass(slots=True)
class Finished(Generic[JobT]):
    """A job and what became of it: ``reply`` as ``run`` returned it, or ``error``."""

    job: JobT
    reply: Any
    error: BaseException | None


class QueueFull(RuntimeError):
    """The rows do not fit into the waiting room; nothing was queued."""


class BatcherClosed(RuntimeError):
    """The batcher takes no more jobs."""


class _Waiting(NamedTuple):
    deadline: float
    sequence: int
    arrived: float
    start: int
    job: Any


class Batcher(Generic[JobT]):
    """Feeds a model from many senders, on a thread of its own.

    Contract:
        1. Work conserving: a pass starts as soon as the model is free and a row waits. With ``max_delay_s`` > 0 a
           lane that does not fill the cap waits, at most that long after the arrival of its oldest job, never
           beyond the earliest deadline in it, and not while closing.
        2. Order: within a lane by deadline, then by arrival. The lane whose first job comes first in that order goes
           first; a lane that is still allowed to wait does not hold up another.
        3. A pass holds the longest beginning of the lane's order that fits into ``cap`` rows. A job that does not fit
           ends the pass, so nobody is overtaken within a lane.
        4. A job's rows share one pass, unless there are more of them than ``cap``: such a job fills what room
           is left, pass after pass, and is reported once, when its last part has run.
        5. ``run(parts)`` is called on the model's thread with the parts of one pass, and returns one reply for each
           (ignored unless the part is its job's last).
        6. ``deliver(finished)`` is called on the model's thread once a pass, when at least one job ended in it. Every
           job is reported exactly once, except that a job cancelled before its (next) pass is dropped unreported.
        7. When ``run`` raises, or returns another number of replies, the jobs of that pass are reported with the error,
           what is left of them is dropped, and the next pass starts.
        8. At most ``max_waiting_rows`` rows wait (those in the running pass not counted); a job beyond that is
           refused with :class:`QueueFull`. Cancelled rows count until their turn comes.
        9. ``close(finish=True)`` refuses new jobs and runs all that wait; ``finish=False`` reports those that wait with
           :class:`BatcherClosed`, after the running pass. Both return when the thread has ended. Safe to call twice.

    ``submit``, ``close`` and the properties may be called from any thread.
    """

    def __init__(
        self,
        run: Callable[[list[Part[JobT]]], Sequence[Any]],
        deliver: Callable[[list[Finished[JobT]]], None],
        *,
        cap: int = 32,
        max_delay_s: float = 0.0,
        max_waiting_rows: int = 4096,
        name: str = "model",
    ) -> None:
        """Starts the model's thread.

        Args:
            run: The model; see the contract.
            deliver: Takes the reports; see the contract. Must be quick and not raise.
            cap: Most rows in a pass, at least 1.
            max_delay_s: Longest wait for a fuller pass, in seconds. 0: never wait.
            max_waiting_rows: Bound of the waiting room, in rows.
            name: Name of the thread.

        Raises:
            ValueError: An argument is out of range.
        """
        if cap < 1 or max_delay_s < 0 or max_waiting_rows < 1:
            raise ValueError("cap and max_waiting_rows must be at least 1, max_delay_s at least 0")
        self._run, self._deliver = run, deliver
        self.cap, self.max_delay_s, self.max_waiting_rows = (
            cap,
            max_delay_s,
            max_waiting_rows,
        )
        self._changed = threading.Condition()
        self._lanes: dict[Hashable, list[_Waiting]] = {}
        self._sequence = 0
        self._waiting_rows = 0
        self._closing = self._dropping = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for a pass."""
        return self._waiting_rows

    def submit(self, job: JobT) -> None:
        """Queues a job.

        Raises:
            QueueFull: The waiting room has no room for all of its rows.
            BatcherClosed: After :meth:`close`, or when the model's thread has died.
            ValueError: The job has no rows.
        """
        if job.rows < 1:
            raise ValueError("a job needs at least one row")
        with self._changed:
            if self._closing:
                raise BatcherClosed("the server is stopping")
            if self._waiting_rows + job.rows > self.max_waiting_rows:
                raise QueueFull(f"{self._waiting_rows} rows are waiting, at most {self.max_waiting_rows} may")
            self._sequence += 1
            entry = _Waiting(job.deadline, self._sequence, time.monotonic(), 0, job)
            heapq.heappush(self._lanes.setdefault(job.lane, []), entry)
            self._waiting_rows += job.rows
            self._changed.notify()

    def close(self, finish: bool = True) -> None:
        """Stops the model's thread; see the contract."""
        with self._changed:
            self._closing = True
            self._dropping = self._dropping or not finish
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _work(self) -> None:
        try:
            while parts := self._take():
                self._report(self._pass(parts))
        finally:  # however the thread ends, nobody is left waiting
            with self._changed:
                self._closing = True
                dropped = self._drop_all()
            self._report([Finished(job, None, BatcherClosed("the server is stopping")) for job in dropped])

    def _pass(self, parts: list[Part[JobT]]) -> list[Finished[JobT]]:
        try:
            replies = self._run(parts)
            if len(replies) != len(parts):
                raise RuntimeError(f"{len(parts)} parts went in, {len(replies)} replies came out")
        except Exception as error:  # noqa: BLE001 - whatever the model raises becomes the answer
            _log.exception(
                "a pass of %d rows failed",
                sum(part.stop - part.start for part in parts),
            )
            for part in parts:
                part.job.cancelled = True  # the rest of a split job is not worth running
            return [Finished(part.job, None, error) for part in parts]
        return [Finished(part.job, reply, None) for part, reply in zip(parts, replies) if part.last]

    def _report(self, finished: list[Finished[JobT]]) -> None:
        if finished:
            try:
                self._deliver(finished)
            except Exception:  # noqa: BLE001 - the model must not die of a reader
                _log.exception("%d finished jobs could not be delivered", len(finished))

    def _drop_all(self) -> list[JobT]:
        dropped = [entry.job for lane in self._lanes.values() for entry in lane if not entry.job.cancelled]
        self._lanes.clear()
        self._waiting_rows = 0
        return dropped

    def _take(self) -> list[Part[JobT]]:
        """Waits for the next pass. Empty: closed, and nothing waits."""
        with self._changed:
            while not self._dropping:
                ready, wait = self._ready_lane()
                if ready is not None:
                    parts = self._fill(ready)
                    if parts:
                        return parts
                elif self._closing:
                    return []
                else:
                    self._changed.wait(wait)
            return []

    def _ready_lane(self) -> tuple[Hashable | None, float | None]:
        """The lane to run now, or how long to wait for one (None: until something changes)."""
        ready = list(self._lanes)
        wait = None
        if self.max_delay_s and ready and not self._closing:
            now = time.monotonic()
            due = {lane: self._due(lane) for lane in ready}
            ready = [lane for lane in ready if due[lane] <= now]
            wait = max(0.0, min(due.values()) - now)
        return min(ready, key=lambda lane: self._lanes[lane][0][:2], default=None), wait

    def _due(self, lane: Hashable) -> float:
        """When the lane's next pass must start, on the monotonic clock."""
        waiting = self._lanes[lane]
        if sum(entry.job.rows - entry.start for entry in waiting) >= self.cap:
            return -math.inf
        return min(
            min(entry.arrived for entry in waiting) + self.max_delay_s,
            waiting[0].deadline,
        )

    def _fill(self, lane: Hashable) -> list[Part[JobT]]:
        waiting, parts, room = self._lanes[lane], [], self.cap
        while waiting and room:
            entry = waiting[0]
            job, left = entry.job, entry.job.rows - entry.start
            if job.cancelled:
                heapq.heappop(waiting)
                self._waiting_rows -= left
                continue
            if left > room and job.rows <= self.cap:
                break
            rows = min(left, room)
            parts.append(Part(job, entry.start, entry.start + rows))
            room -= rows
            self._waiting_rows -= rows
            if rows == left:
                heapq.heappop(waiting)
            else:
                heapq.heapreplace(waiting, entry._replace(start=entry.start + rows))
        if not waiting:
            del self._lanes[lane]
        return parts
