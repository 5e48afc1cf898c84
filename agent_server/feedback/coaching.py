"""The server's side of feedback: the one link to the feedback service, and the sessions that it serves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from agent_server.feedback.session_feedback import SessionFeedback
from agent_server.feedback.settle import PICTURE, FeedbackAgreement
from codriver.coaching.link import FeedbackLink
from codriver.coaching.source import FeedbackSource
from codriver.v1 import feedback_pb2

if TYPE_CHECKING:
    from agent_server.sessions.session import Session

_log = logging.getLogger(__name__)

Sink: TypeAlias = Callable[[str, feedback_pb2.Feedback], None]
"""Gets the session's id and everything that one of its requests ends with, values and ``Unavailable`` alike."""


class Coaching:
    """All feedback of one agent server. Belongs to the event loop.

    Attributes:
        link: The link to the feedback service.
    """

    def __init__(self, source: FeedbackSource) -> None:
        """Coaching that is not yet connected.

        Raises:
            InvalidArgumentError: The address or a file cannot be used.
        """
        self.link = FeedbackLink(
            source.address, self._on_feedback, picture_spec=PICTURE, **source.link_settings()
        )
        self._sessions: dict[str, SessionFeedback] = {}
        self._sinks: list[Sink] = []

    def add_sink(self, sink: Sink) -> None:
        """Adds somebody who is told of all feedback of all sessions, on the loop; a sink must not block."""
        self._sinks.append(sink)

    async def start(self) -> None:
        """Begins to connect; does not wait."""
        await self.link.start()

    async def close(self) -> None:
        """Ends everything open as RESTARTED, and gives it to the streams that are still attached."""
        await self.link.close()
        for feedback in list(self._sessions.values()):
            feedback.flush()

    def open(self, session: Session, agreement: FeedbackAgreement) -> SessionFeedback:
        """Begins to coach a session."""

        def ended(feedback: feedback_pb2.Feedback) -> None:
            self._tell_sinks(session.session_id, feedback)

        coached = SessionFeedback(session, agreement, self.link, ended)
        self._sessions[session.session_id] = coached
        return coached

    def forget(self, session: Session) -> None:
        """Ends a session's coaching."""
        coached = self._sessions.pop(session.session_id, None)
        if coached is not None:
            coached.close()

    def _on_feedback(self, feedback: feedback_pb2.Feedback) -> None:
        coached = self._sessions.get(feedback.key.session_id)
        if coached is not None:
            coached.arrived(feedback)

    def _tell_sinks(self, session_id: str, feedback: feedback_pb2.Feedback) -> None:
        for sink in self._sinks:
            try:
                sink(session_id, feedback)
            except Exception:  # noqa: BLE001 - a sink's fault must not keep feedback from the client
                _log.exception("a sink failed on feedback of coach %r", feedback.coach)
