"""The open sessions: opened, found by id and token, and swept when they are idle."""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from collections.abc import Callable

from agent_server.limits import Limits
from agent_server.sessions.session import Agreement, Session
from codriver.errors import PermissionDeniedError, ResourceExhaustedError, SessionLostError

_log = logging.getLogger(__name__)


class SessionRegistry:
    """All sessions of a server. Belongs to the event loop."""

    def __init__(self, limits: Limits, closed: Callable[[Session], None] | None = None) -> None:
        """An empty registry.

        Args:
            limits: What is allowed.
            closed: Told of each session that is closed.
        """
        self._limits, self._closed = limits, closed
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        """Number of open sessions."""
        return len(self._sessions)

    def open(self, agreement: Agreement) -> Session:
        """Opens a session.

        Raises:
            ResourceExhaustedError: There are as many as the server allows.
        """
        if len(self._sessions) >= self._limits.max_sessions:
            raise ResourceExhaustedError(
                f"{len(self._sessions)} sessions are open, at most {self._limits.max_sessions} may be",
                reason="TOO_MANY_SESSIONS",
                hint="Close one, or try again later.",
                retry_after_s=5.0,
            )
        session = Session(secrets.token_hex(8), secrets.token_urlsafe(24), agreement)
        self._sessions[session.session_id] = session
        _log.info("session %s opened by %r", session.session_id, agreement.client_name)
        return session

    def find(self, session_id: str, resume_token: str) -> Session:
        """The open session of that id.

        Raises:
            SessionLostError: There is none (any more).
            PermissionDeniedError: The token is not its token.
        """
        session = self._sessions.get(session_id)
        if session is None or session.closed:
            raise SessionLostError(
                f"no session {session_id[:64]!r} on this server",
                field="session_id",
                hint="Open a new one and restart its episodes.",
            )
        if not hmac.compare_digest(session.resume_token.encode(), resume_token.encode()):
            raise PermissionDeniedError(
                f"the resume token is not that of session {session_id!r}",
                reason="WRONG_RESUME_TOKEN",
                field="resume_token",
                hint="Use the token that OpenSession answered.",
            )
        session.touch()
        return session

    def close(self, session: Session) -> None:
        """Forgets a session."""
        session.closed = True
        if self._closed is not None:
            self._closed(session)
        self._sessions.pop(session.session_id, None)
        _log.info("session %s closed", session.session_id)

    def sweep(self) -> list[str]:
        """Closes the sessions that were idle for too long; their ids."""
        now = time.monotonic()
        idle = [s for s in self._sessions.values() if s.idle_s(now) > self._limits.idle_timeout_s]
        for session in idle:
            _log.info("session %s was idle for %d s", session.session_id, self._limits.idle_timeout_s)
            self.close(session)
        return [session.session_id for session in idle]
