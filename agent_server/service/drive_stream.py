"""One Drive stream: a reader, a writer, and the session between them."""

from __future__ import annotations

import asyncio
from collections import deque

from agent_server.sessions.intake import Intake
from agent_server.sessions.session import Session
from codriver.errors import CodriverError, InvalidArgumentError
from codriver.serving.status import EOF, Context, parse
from codriver.v1 import agent_service_pb2

MAX_UNREAD_MESSAGES = 256
"""A peer that does not read its answers is not read from either, beyond this many."""


class DriveStream:
    """The attached stream of a session (a :class:`agent_server.sessions.session.Stream`)."""

    def __init__(self, session: Session, context: Context, intake: Intake) -> None:
        """A stream that is not yet running."""
        self._session, self._context, self._intake = session, context, intake
        self._outbox: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = asyncio.Event()
        self._error: CodriverError | None = None
        self._pending = 0
        self._last = False

    def send(self, message: bytes) -> None:
        """Queues a serialised ``DriveResponse``."""
        self._outbox.append(message)
        self._changed.set()
        if len(self._outbox) >= MAX_UNREAD_MESSAGES:
            self._room.clear()

    def end(self, error: CodriverError | None = None) -> None:
        """Reads no more, answers what is in flight, then ends with OK or with the error."""
        self._error = self._error or error
        self._ended.set()

    async def run(self) -> None:
        """Serves the stream to its end.

        Raises:
            CodriverError: What the stream ends with, after everything in flight was answered.
        """
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({writer, reader, ended}, return_when=asyncio.FIRST_COMPLETED)
            self._last = True
            self._changed.set()
            if reader.done() and (fault := reader.exception()) is not None:
                self._error = fault if isinstance(fault, CodriverError) else self._error
                if not isinstance(fault, CodriverError):
                    raise fault
            reader.cancel()
            await writer
        finally:
            for task in (writer, reader, ended):
                task.cancel()
            await asyncio.gather(writer, reader, ended, return_exceptions=True)
        if self._error is not None:
            raise self._error

    async def _read(self) -> None:
        """Reads until the client is done sending."""
        while True:
            message = await self._context.read()
            if message is EOF:
                return
            request = parse(message, agent_service_pb2.DriveRequest)
            if request.WhichOneof("message") != "observations":
                raise InvalidArgumentError(
                    "after the first message of a stream, each one must carry observations",
                    reason="UNEXPECTED_MESSAGE",
                    field="message",
                )
            exchange = self._intake.receive(self._session, request.observations)
            self._pending += 1
            exchange.then(self._answer)
            if not self._room.is_set():
                await self._room.wait()

    def _answer(self, message: bytes) -> None:
        self._pending -= 1
        self.send(message)

    async def _write(self) -> None:
        """Writes until the stream has been told to end and nothing is missing."""
        while True:
            while self._outbox:
                await self._context.write(self._outbox.popleft())
                if len(self._outbox) < MAX_UNREAD_MESSAGES // 2:
                    self._room.set()
            if self._last and not self._pending:
                return
            self._changed.clear()
            await self._changed.wait()
