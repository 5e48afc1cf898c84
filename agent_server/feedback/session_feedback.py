"""Feedback of one session: what was asked, what is open, and the way back to its client."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from agent_server.feedback.marked import MarkedRow, marked_rows
from agent_server.feedback.settle import FeedbackAgreement
from codriver.coaching.link import FeedbackLink
from codriver.coaching.outcomes import Asked, unavailable
from codriver.v1 import agent_service_pb2, feedback_pb2, feedback_service_pb2

if TYPE_CHECKING:
    from agent_server.sessions.exchange import Exchange
    from agent_server.sessions.session import Session

_log = logging.getLogger(__name__)

MAX_KEPT = 4096
"""Feedback kept for a client that is not attached; the oldest is dropped beyond."""
MAX_RECENT = 1024
RECENT_S = 30.0
"""What a stream that broke had been given in its last seconds is given again to the next one."""
MAX_IN_MESSAGE = 1024


class SessionFeedback:
    """The coaching of one session (a :class:`agent_server.sessions.session.Coached`)."""

    def __init__(
        self,
        session: Session,
        agreement: FeedbackAgreement,
        link: FeedbackLink,
        ended: Callable[[feedback_pb2.Feedback], None],
    ) -> None:
        """The coaching of a session that has asked nothing yet.

        Args:
            session: The session.
            agreement: What it agreed on.
            link: The way to the feedback service.
            ended: Told of everything that this session's requests end with.
        """
        self.agreement = agreement
        self.undeliverable = 0
        """Feedback that was dropped because no client came for it."""
        self._session, self._link, self._told = session, link, ended
        self._open: set[Asked] = set()
        self._open_of_env: dict[int, int] = {}
        self._ages = any(coach.max_age_steps for coach in agreement.coaches)
        self._limit = 0
        if agreement.credits_per_env:
            # What a client that keeps to its credits can reach: it sees an answer only after what it had in flight.
            in_flight = session.agreement.frames_in_flight
            self._limit = (agreement.credits_per_env + in_flight) * len(agreement.coaches)
        self._outgoing: list[feedback_pb2.Feedback] = []
        self._kept: deque[feedback_pb2.Feedback] = deque()
        self._recent: deque[tuple[float, feedback_pb2.Feedback]] = deque(maxlen=MAX_RECENT)
        self._closed = False

    @property
    def open_requests(self) -> int:
        """Requests without an answer."""
        return len(self._open)

    def answered(self, exchange: Exchange) -> None:
        """A message has its actions: asks about its marked rows. Called before the actions are sent."""
        request = exchange.request
        if self._ages and self._open_of_env:
            self._tell_progress(exchange)
        if not request.wants_feedback:
            return
        asked: list[feedback_service_pb2.AnnotationRequest] = []
        for row in marked_rows(exchange, self.agreement.column):
            for coach in self.agreement.coaches:
                self._ask(row, coach, asked)
        if asked:
            self._link.ask(asked)

    def arrived(self, feedback: feedback_pb2.Feedback) -> None:
        """The end of a request, from the link."""
        asked = Asked.of(feedback.coach, feedback.key)
        if asked not in self._open:
            return
        self._open.remove(asked)
        left = self._open_of_env[asked.env] - 1
        if left:
            self._open_of_env[asked.env] = left
        else:
            del self._open_of_env[asked.env]
        self._give(feedback)

    def attached(self) -> None:
        """A stream is attached: gives it what was kept."""
        kept, self._kept = self._kept, deque()
        self._outgoing[:0] = kept
        self.flush()

    def detached(self, cleanly: bool) -> None:
        """The stream is gone.

        Args:
            cleanly: True: its client has read everything. False: what it was given last may be lost, and will be
                given again.
        """
        if not cleanly:
            since = time.monotonic() - RECENT_S
            self._keep([feedback for when, feedback in self._recent if when >= since])
        self._recent.clear()

    def close(self) -> None:
        """The session is closed: what is open ends as CANCELLED, here and at the service."""
        # Answers that a client leaves behind when it goes are nothing to worry about; those dropped before are.
        level = logging.WARNING if self.undeliverable else logging.INFO
        self._closed = True
        still, self._open = self._open, set()
        self._open_of_env.clear()
        for asked in still:
            self._give(
                unavailable(asked, feedback_pb2.UNAVAILABLE_REASON_CANCELLED, "the session was closed")
            )
        self.flush()
        self.undeliverable += len(self._kept)
        self._kept.clear()
        if self.undeliverable:
            _log.log(
                level,
                "session %s: closed; %d pieces of its feedback were not delivered",
                self._session.session_id,
                self.undeliverable,
            )
        self._link.cancel(asked.key() for asked in still)

    def flush(self) -> None:
        """Sends what has arrived to the attached stream, or keeps it for the next one."""
        outgoing, self._outgoing = self._outgoing, []
        stream = self._session.stream
        if stream is None:
            self._keep(outgoing)
            return
        rest = iter(outgoing)
        now = time.monotonic()
        while part := list(islice(rest, MAX_IN_MESSAGE)):
            self._recent.extend((now, feedback) for feedback in part)
            batch = agent_service_pb2.FeedbackBatch(feedback=part)
            stream.send(agent_service_pb2.DriveResponse(feedback=batch).SerializeToString())

    def _ask(
        self,
        row: MarkedRow,
        coach: feedback_pb2.CoachSelection,
        requests: list[feedback_service_pb2.AnnotationRequest],
    ) -> None:
        """Adds a request, or ends it here."""
        asked = Asked(coach.coach, self._session.session_id, row.env, row.episode, row.step)
        if row.fault:
            self._give(unavailable(asked, feedback_pb2.UNAVAILABLE_REASON_INVALID_REQUEST, row.fault))
        elif self._closed:
            self._give(
                unavailable(asked, feedback_pb2.UNAVAILABLE_REASON_CANCELLED, "the session was closed")
            )
        elif self._limit and self._open_of_env.get(row.env, 0) >= self._limit:
            detail = f"{self._limit} requests of environment {row.env} are open, more than its credits allow"
            self._give(unavailable(asked, feedback_pb2.UNAVAILABLE_REASON_BACKLOG, detail))
        else:
            self._open.add(asked)
            self._open_of_env[row.env] = self._open_of_env.get(row.env, 0) + 1
            requests.append(
                feedback_service_pb2.AnnotationRequest(
                    key=asked.key(),
                    coach=coach.coach,
                    kind=coach.kind,
                    picture=row.picture,
                    context=row.context,
                    timeout_ms=coach.timeout_ms,
                    max_age_steps=coach.max_age_steps,
                )
            )

    def _tell_progress(self, exchange: Exchange) -> None:
        request, session_id = exchange.request, self._session.session_id
        for env, episode, step in zip(request.env, request.episode, request.step):
            if env in self._open_of_env:
                self._link.progress(
                    feedback_pb2.FeedbackKey(session_id=session_id, env=env, episode=episode, step=step)
                )

    def _give(self, feedback: feedback_pb2.Feedback) -> None:
        """Passes one on; what arrives in one turn of the loop leaves in one message."""
        self._told(feedback)
        self._outgoing.append(feedback)
        if len(self._outgoing) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def _keep(self, feedback: list[feedback_pb2.Feedback]) -> None:
        if self._closed:
            self.undeliverable += len(feedback)
            return
        self._kept.extend(feedback)
        excess = len(self._kept) - MAX_KEPT
        if excess <= 0:
            return
        if not self.undeliverable:
            _log.warning(
                "session %s: no client comes for its feedback; beyond %d, the oldest is dropped",
                self._session.session_id,
                MAX_KEPT,
            )
        self.undeliverable += excess
        for _ in range(excess):
            self._kept.popleft()
