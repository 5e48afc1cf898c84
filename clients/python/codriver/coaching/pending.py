"""What a feedback link has asked and not yet heard of, and what it still has to send."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, Dict, Iterator, List, Tuple

from codriver.coaching.outcomes import Asked
from codriver.v1 import feedback_pb2, feedback_service_pb2

PROGRESS_INTERVAL_S = 1.0
"""Progress of environments is told at most once in this time."""
MAX_MESSAGE_BYTES = 1 << 20
"""A message takes no more requests once it is this large (a picture may be as large itself)."""
MAX_MESSAGE_REQUESTS = 256
_MAX_KEYS = 4096
_OVERHEAD_BYTES = 256
"""What a pending request takes beside its picture, roughly."""


@dataclass
class LinkCounts:
    """What a link has done so far.

    Attributes:
        asked: Requests taken.
        answered: Requests that the service answered.
        ended_here: Requests that ended without the service, for any reason.
        repeated: Requests for what was pending already; they share its answer.
        not_pending: Answers to what was not pending (any more): duplicates, or later than the link's own deadline.
        connections: Connections that were made.
    """

    asked: int = 0
    answered: int = 0
    ended_here: int = 0
    repeated: int = 0
    not_pending: int = 0
    connections: int = 0


class Entry:
    """A request without an answer.

    Attributes:
        asked: What it is known by.
        request: The request.
        deadline: When the link gives it up, on the monotonic clock.
        sent_at: When it was sent on the present connection; 0: not yet.
        lost: True: it was sent on a connection that is gone, and not again since.
        size: What it takes, in bytes.
        timer: Calls at the deadline.
    """

    __slots__ = ("asked", "deadline", "lost", "request", "sent_at", "size", "timer")

    def __init__(
        self, asked: Asked, request: feedback_service_pb2.AnnotationRequest, deadline: float
    ) -> None:
        self.asked, self.request, self.deadline = asked, request, deadline
        self.sent_at = 0.0
        self.lost = False
        self.size = len(request.picture) + _OVERHEAD_BYTES
        self.timer: asyncio.TimerHandle | None = None


class Pending:
    """The requests without an answer, in the order of asking; also knows whose age matters.

    Attributes:
        size_bytes: What they take together.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._entries: Dict[Asked, Entry] = {}
        self._aging: Dict[Tuple[str, int], int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, asked: Asked) -> Entry | None:
        """The entry of a request."""
        return self._entries.get(asked)

    def all(self) -> List[Entry]:
        """Every entry; the list stays as it is while entries go."""
        return list(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Takes an entry in."""
        self._entries[entry.asked] = entry
        self.size_bytes += entry.size
        if entry.request.max_age_steps:
            place = (entry.asked.session_id, entry.asked.env)
            self._aging[place] = self._aging.get(place, 0) + 1

    def remove(self, entry: Entry) -> None:
        """Drops an entry, which must be there."""
        del self._entries[entry.asked]
        self.size_bytes -= entry.size
        if entry.timer is not None:
            entry.timer.cancel()
        if entry.request.max_age_steps:
            place = (entry.asked.session_id, entry.asked.env)
            self._aging[place] -= 1
            if not self._aging[place]:
                del self._aging[place]

    def ages(self, place: Tuple[str, int]) -> bool:
        """Whether a (session, environment) has requests that can become stale."""
        return place in self._aging


class Outgoing:
    """What is to be sent: requests, withdrawals, progress; as few messages as can be.

    Args:
        pending: The requests without an answer; what is no longer among them is not sent.
        grace_s: How much later than at the service's deadline the link gives a request up.
        wake: Called when there is something to send.
    """

    def __init__(self, pending: Pending, grace_s: float, wake: Callable[[], None]) -> None:
        self._pending, self._grace_s, self._wake = pending, grace_s, wake
        self._requests: Deque[Entry] = deque()
        self._cancels: List[feedback_pb2.FeedbackKey] = []
        self._progress: Dict[Tuple[str, int], feedback_pb2.FeedbackKey] = {}
        self._progress_timer: asyncio.TimerHandle | None = None

    def add(self, entry: Entry) -> None:
        """Will send a request (once woken)."""
        if entry.request.max_age_steps:  # it tells how far the environment is
            self._progress.pop((entry.asked.session_id, entry.asked.env), None)
        self._requests.append(entry)

    def cancel(self, key: feedback_pb2.FeedbackKey) -> None:
        """Will withdraw a key."""
        self._cancels.append(key)
        self._wake()

    def progress(self, key: feedback_pb2.FeedbackKey) -> None:
        """Will tell, some time, how far an environment has come."""
        place = (key.session_id, key.env)
        if not self._pending.ages(place):
            return
        self._progress[place] = key
        if self._progress_timer is None:
            loop = asyncio.get_event_loop()
            self._progress_timer = loop.call_later(PROGRESS_INTERVAL_S, self._progress_due)

    def begin(self) -> None:
        """A new connection: all requests are sent again, withdrawals ended with the old one."""
        self._cancels = []
        self._requests = deque(self._pending.all())

    def messages(self) -> Iterator[feedback_service_pb2.AnnotateRequest]:
        """What is to be sent now."""
        while self._cancels or self._requests:
            if self._cancels:
                keys, self._cancels = self._cancels[:_MAX_KEYS], self._cancels[_MAX_KEYS:]
                withdrawn = feedback_service_pb2.CancelRequests(keys=keys)
                yield feedback_service_pb2.AnnotateRequest(cancel=withdrawn)
            batch = self._batch()
            if batch:
                requests = feedback_service_pb2.AnnotationRequests(requests=batch)
                yield feedback_service_pb2.AnnotateRequest(requests=requests)
        if self._progress_timer is None:
            latest, self._progress = self._progress, {}
            for place, key in latest.items():
                if self._pending.ages(place):
                    progress = feedback_service_pb2.EnvProgress(latest=key)
                    yield feedback_service_pb2.AnnotateRequest(progress=progress)

    def stop(self) -> None:
        """Sends nothing more."""
        self._requests.clear()
        if self._progress_timer is not None:
            self._progress_timer.cancel()

    def _batch(self) -> List[feedback_service_pb2.AnnotationRequest]:
        batch: List[feedback_service_pb2.AnnotationRequest] = []
        room = MAX_MESSAGE_BYTES
        now = time.monotonic()
        while self._requests and len(batch) < MAX_MESSAGE_REQUESTS and room > 0:
            entry = self._requests.popleft()
            if entry.sent_at or self._pending.get(entry.asked) is not entry:
                continue
            if entry.lost and entry.request.timeout_ms:  # part of its time is over
                left_s = entry.deadline - now - self._grace_s
                entry.request.timeout_ms = max(1, int(left_s * 1e3))
            entry.sent_at, entry.lost = now, False
            batch.append(entry.request)
            room -= entry.size
        return batch

    def _progress_due(self) -> None:
        self._progress_timer = None
        self._wake()
