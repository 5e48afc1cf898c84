"""The link to a feedback service: requests go out on one stream, and each of them ends in exactly one answer.

Whoever wants feedback holds one: the agent server, a driver that drives by a model's actions, a benchmark. Asking
never waits. What the service does not answer, the link does: ``Unavailable`` with a reason, never silence.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, Callable, Dict, Iterable, Tuple

import grpc

from codriver import driving
from codriver.coaching.link_stream import MAY_PASS, LinkStream, Token
from codriver.coaching.outcomes import Asked, fault, unavailable
from codriver.coaching.pending import Entry, LinkCounts, Outgoing, Pending
from codriver.connection import target
from codriver.errors import CodriverError, UnavailableError
from codriver.v1 import feedback_pb2, feedback_service_pb2, tensor_pb2

_log = logging.getLogger(__name__)

MAX_PICTURE_BYTES = 1 << 20
MAX_PENDING_BYTES = 256 << 20
SETTLED_S = 5.0
"""A connection that lasted this long was a good one, even if nothing was asked on it."""


class FeedbackLink:
    """One asker's link. Create, start and use it on one event loop.

    Args:
        address: Of the service: ``HOST:PORT`` or ``unix:PATH``.
        on_feedback: Called on the loop, exactly once for each (coach, key) asked and never from within ``ask``; must
            not block. Its exceptions are logged.
        credentials: TLS credentials; None for a plain connection.
        token: Bearer token, or a function that reads it for each connection.
        picture_spec: Layout of every picture that will be asked about; None: the standard driving picture.
        max_pending: Most requests without an answer; more end as BACKLOG.
        default_timeout_s: The link's own deadline for requests that leave the timeout to the service.
        grace_s: What the link waits beyond a request's timeout, so that the service's own word comes first.
        connect_timeout_s: Longest wait for a service to answer on a new connection.
        backoff_s: Shortest and longest pause between two attempts to connect; jittered.
        lost_after_s: Requests that were sent on a connection that broke end as RESTARTED when the service is not back
            after this long.

    Attributes:
        counts: What it has done so far.

    Raises:
        InvalidArgumentError: The address is none.
    """

    def __init__(
        self,
        address: str,
        on_feedback: Callable[[feedback_pb2.Feedback], None],
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: Token = None,
        picture_spec: tensor_pb2.TensorSpec | None = None,
        max_pending: int = 8192,
        default_timeout_s: float = 120.0,
        grace_s: float = 2.0,
        connect_timeout_s: float = 5.0,
        backoff_s: Tuple[float, float] = (0.1, 5.0),
        lost_after_s: float = 10.0,
    ) -> None:
        self.address = target(address)
        self.picture_spec = picture_spec or driving.observation_spec(picture=True).tensors[-1]
        self.counts = LinkCounts()
        self._on_feedback, self._credentials, self._token = on_feedback, credentials, token
        self._max_pending, self._default_timeout_s, self._grace_s = max_pending, default_timeout_s, grace_s
        self._connect_timeout_s, self._backoff_s = connect_timeout_s, backoff_s
        self._pending = Pending()
        self._outgoing = Outgoing(self._pending, grace_s, self._wake)
        self._ended: Dict[Asked, feedback_pb2.Feedback] = {}
        self._stream: LinkStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed: asyncio.Event | None = None
        self._down_since, self._down_why = 0.0, ""
        self._lost_after_s = lost_after_s
        self._lost_timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """True while the service answers on a connection."""
        return self._stream is not None

    @property
    def pending(self) -> int:
        """Requests without an answer."""
        return len(self._pending)

    @property
    def credits(self) -> int:
        """Requests that the service would still take, as it last said; 0 while not connected.

        For display: the link does not hold back for it. What goes beyond, the service answers as BACKLOG.
        """
        return self._stream.credits if self._stream is not None else 0

    @property
    def trouble(self) -> str:
        """Why nothing can be asked: the address and since when. Empty: it can, or the link is just connecting."""
        if not self._down_since:
            return ""
        since = time.strftime("%H:%M:%S", time.localtime(self._down_since))
        return f"no feedback service at {self.address} since {since}: {self._down_why}"

    async def start(self) -> None:
        """Begins to connect, and to connect again whenever the connection is lost; does not wait for it."""
        if self._task is None and not self._closed:
            self._changed = asyncio.Event()
            self._task = asyncio.ensure_future(self._run())

    async def wait_connected(self, timeout_s: float) -> bool:
        """Waits until the service answers; False: it did not in time."""
        end = time.monotonic() + timeout_s
        while not self.connected and not self._closed and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return self.connected

    async def close(self) -> None:
        """Ends the link; everything pending ends as RESTARTED, and what is asked from now on does so too."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._outgoing.stop()
        self._stop_lost_timer()
        for entry in self._pending.all():
            self._end(entry, feedback_pb2.UNAVAILABLE_REASON_RESTARTED, "the asker stopped")
        self._deliver()

    def ask(self, requests: Iterable[feedback_service_pb2.AnnotationRequest]) -> None:
        """Asks; returns at once and does not raise. Requests of one turn of the event loop leave together.

        Args:
            requests: What is asked; the link keeps the messages, so do not change them afterwards. What is pending
                already is not asked again and shares the one answer.
        """
        now = time.monotonic()
        for request in requests:
            asked = Asked.of(request.coach, request.key)
            if self._pending.get(asked) is not None or asked in self._ended:
                self.counts.repeated += 1
                continue
            self.counts.asked += 1
            wait_s = self._wait_s(request)
            entry = Entry(asked, request, now + wait_s)
            refusal = self._refusal(entry)
            if refusal is not None:
                self._end_soon(asked, *refusal)
                continue
            entry.timer = asyncio.get_event_loop().call_later(wait_s, self._expire, entry)
            self._pending.add(entry)
            self._outgoing.add(entry)
        self._wake()

    def progress(self, key: feedback_pb2.FeedbackKey) -> None:
        """Notes how far an environment has come; told to the service now and then, where requests can become stale."""
        self._outgoing.progress(key)

    def cancel(self, keys: Iterable[feedback_pb2.FeedbackKey]) -> None:
        """Withdraws what is pending for some keys, at every coach: it ends as CANCELLED, here and at the service."""
        wanted = {Asked.of("", key) for key in keys}
        for entry in self._pending.all():
            if entry.asked._replace(coach="") not in wanted:
                continue
            if entry.sent_at:
                self._outgoing.cancel(entry.asked.key())
            self._end(entry, feedback_pb2.UNAVAILABLE_REASON_CANCELLED, "withdrawn by the asker")

    async def list_coaches(self, timeout_s: float = 5.0) -> feedback_service_pb2.ListCoachesResponse:
        """What the service has now.

        Raises:
            UnavailableError: There is no connection, and none came up in time.
            CodriverError: The call failed.
        """
        if self._stream is None and not self.trouble:
            await self.wait_connected(timeout_s)
        if self._stream is None:
            raise UnavailableError(self.trouble or f"no connection to the feedback service at {self.address}")
        return await self._stream.list_coaches(timeout_s)

    # How a request ends

    def _refusal(self, entry: Entry) -> Tuple[Any, str] | None:
        """Why a request is not even sent."""
        if self._closed:
            return feedback_pb2.UNAVAILABLE_REASON_RESTARTED, "the asker stopped"
        if len(entry.request.picture) > MAX_PICTURE_BYTES:
            detail = (
                f"picture has {len(entry.request.picture)} bytes; at most {MAX_PICTURE_BYTES} are allowed"
            )
            return feedback_pb2.UNAVAILABLE_REASON_INVALID_REQUEST, detail
        if self._down_since:
            return feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED, self.trouble
        waiting, size = len(self._pending), self._pending.size_bytes
        if waiting >= self._max_pending or size + entry.size > MAX_PENDING_BYTES:
            detail = f"{waiting} requests ({size >> 20} MiB) wait at the asker for the service already"
            return feedback_pb2.UNAVAILABLE_REASON_BACKLOG, detail
        return None

    def _expire(self, entry: Entry) -> None:
        """The link's own deadline: the service is silent, or away."""
        detail = f"no answer from {self.address} within {self._wait_s(entry.request):.1f} s"
        if entry.lost:
            detail += ": the connection was lost meanwhile"
            self._end(entry, feedback_pb2.UNAVAILABLE_REASON_RESTARTED, detail)
            return
        self._end(entry, feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT, detail)
        if entry.sent_at and self._stream is not None and self._stream.heard_at < entry.sent_at:
            self._stream.suspect(f"it takes requests and says nothing ({detail})")

    def _give_up_lost(self) -> None:
        """The service stays away: nobody waits longer for what went down with it."""
        self._lost_timer = None
        detail = (
            f"the connection to {self.address} was lost, and it is not back after {self._lost_after_s:g} s"
        )
        for entry in self._pending.all():
            if entry.lost:
                self._end(entry, feedback_pb2.UNAVAILABLE_REASON_RESTARTED, detail)

    def _stop_lost_timer(self) -> None:
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None

    def _end(self, entry: Entry, reason: Any, detail: str) -> None:
        self._pending.remove(entry)
        self._end_soon(entry.asked, reason, detail)

    def _end_soon(self, asked: Asked, reason: Any, detail: str) -> None:
        self.counts.ended_here += 1
        self._ended[asked] = unavailable(asked, reason, detail)
        if len(self._ended) == 1:
            asyncio.get_event_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        ended, self._ended = self._ended, {}
        for feedback in ended.values():
            self._tell(feedback)

    def _tell(self, feedback: feedback_pb2.Feedback) -> None:
        try:
            self._on_feedback(feedback)
        except Exception:  # noqa: BLE001 - a listener's fault must not end the link, on which others wait
            _log.exception("a listener failed on feedback of coach %r", feedback.coach)

    def _take(self, feedback: feedback_pb2.Feedback) -> None:
        """An answer of the service."""
        asked = Asked.of(feedback.coach, feedback.key)
        entry = self._pending.get(asked)
        if entry is None:
            self.counts.not_pending += 1
            return
        self._pending.remove(entry)
        self.counts.answered += 1
        wrong = fault(feedback, entry.request.kind)
        if wrong:
            detail = f"{self.address} broke the contract: {wrong}"
            feedback = unavailable(asked, feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR, detail)
        self._tell(feedback)

    def _wait_s(self, request: feedback_service_pb2.AnnotationRequest) -> float:
        return (request.timeout_ms / 1e3 or self._default_timeout_s) + self._grace_s

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    # Connections

    async def _run(self) -> None:
        """Connects, again and again. The first attempt after a loss comes at once, the others after pauses."""
        assert self._changed is not None
        failures = 0
        shortest, longest = self._backoff_s
        while not self._closed:
            begin = time.monotonic()
            stream = LinkStream(self.address, self._credentials, self._token, self._connect_timeout_s)
            why, final = "the service ended the stream", False
            try:
                await stream.connect()
                self._connected(stream)
                await stream.run(self.picture_spec, self._outgoing.messages, self._changed, self._take)
            except CodriverError as error:
                why, final = error.message[:300], error.status_name not in MAY_PASS
            except Exception as error:  # noqa: BLE001 - without this task nothing would be asked any more
                _log.exception("the link to %s failed", self.address)
                why = f"{type(error).__name__}: {error}"[:300]
            finally:
                settled = time.monotonic() - begin > SETTLED_S or stream.heard_at > 0
                good = self._stream is stream and settled
                self._stream = None
                await stream.close()
            failures = 0 if good else failures + 1
            self._disconnected(why, final, away=failures > 0)
            pause = min(longest, shortest * 2 ** min(failures, 16)) if failures else shortest
            await asyncio.sleep(pause * (0.5 + random.random() / 2))

    def _connected(self, stream: LinkStream) -> None:
        if self._down_since:
            _log.warning("connected to the feedback service at %s", self.address)
        self._stream, self._down_since = stream, 0.0
        self._stop_lost_timer()
        self.counts.connections += 1
        self._outgoing.begin()

    def _disconnected(self, why: str, final: bool, away: bool) -> None:
        """Notes a loss, or one more failure to connect.

        Args:
            why: What happened.
            final: True: trying again with what is pending cannot help.
            away: True: the service counts as away; False: it may be back with the next attempt.
        """
        if away or final:
            if not self._down_since:
                _log.warning("no feedback service at %s: %s; trying again", self.address, why)
                self._down_since = time.time()
            self._down_why = why
        if self._lost_timer is None and not self._closed:
            self._lost_timer = asyncio.get_event_loop().call_later(self._lost_after_s, self._give_up_lost)
        for entry in self._pending.all():
            if entry.sent_at:
                entry.sent_at, entry.lost = 0.0, True
            if final or (away and not entry.lost):
                self._end(entry, feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED, self.trouble)
