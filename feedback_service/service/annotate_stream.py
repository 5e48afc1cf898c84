"""One Annotate stream: a reader, a writer, and an asker of the desk between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from codriver.errors import CodriverError, DeadlineExceededError, InvalidArgumentError
from codriver.serving.status import EOF, Context, parse
from codriver.v1 import feedback_pb2
from codriver.v1 import feedback_service_pb2 as pb
from feedback_service.service.picture_spec import check_picture_spec

MAX_UNREAD = 4096
"""Answers that wait for a peer to read them; beyond it, the peer is not read from either."""
MAX_ANSWERS_PER_MESSAGE = 256
"""Keeps messages below gRPC's 4 MiB, with raw texts of 1,024 characters in every answer."""
MAX_REQUESTS_PER_MESSAGE = 4096


class Asker(Protocol):
    """A stream's side of the desk. No method blocks."""

    @property
    def credits(self) -> int:
        """Requests that may still be added before they are refused."""

    def ask(self, request: pb.AnnotationRequest) -> None:
        """Asks; exactly one answer follows, perhaps before this returns."""

    def progress(self, key: feedback_pb2.FeedbackKey) -> None:
        """Tells how far an environment has come."""

    def cancel(self, keys: list[feedback_pb2.FeedbackKey]) -> None:
        """Withdraws requests, which are still answered."""

    def close(self) -> None:
        """Leaves; nothing is answered from then on."""


class AnnotateStream:
    """One stream, from its first message to its status."""

    def __init__(
        self,
        context: Context,
        open_asker: Callable[[Callable[[feedback_pb2.Feedback], None]], Asker],
        handshake_s: float,
    ) -> None:
        """A stream that is not yet running.

        Args:
            context: Its call.
            open_asker: The desk's: takes what gets the answers.
            handshake_s: Time in which the peer sends its first message.
        """
        self._context, self._handshake_s = context, handshake_s
        self._outbox: deque[feedback_pb2.Feedback] = deque()
        self._changed, self._room, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._error: CodriverError | None = None
        self._pending = 0
        self._last = False
        self._asker = open_asker(self._answer)

    def end(self, error: CodriverError) -> None:
        """Reads no more, writes what is still answered, then ends with the error."""
        self._error = self._error or error
        self._ended.set()

    async def run(self) -> None:
        """Serves the stream to its end: the peer is done and has all its answers, or something went wrong.

        Raises:
            CodriverError: What the stream ends with.
        """
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({writer, reader, ended}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and (fault := reader.exception()) is not None:
                # what this peer asked is answered to nobody: it broke the protocol, or it is gone
                raise fault
            self._last = True
            self._changed.set()
            reader.cancel()
            await writer
        finally:
            for task in (writer, reader, ended):
                task.cancel()
            await asyncio.gather(writer, reader, ended, return_exceptions=True)
            self._asker.close()
        if self._error is not None:
            raise self._error

    async def _read(self) -> None:
        """Reads until the peer is done sending."""
        first = await self._first()
        if first is EOF:
            return
        message: pb.AnnotateRequest = parse(first, pb.AnnotateRequest)
        if message.WhichOneof("message") != "picture_spec":
            raise InvalidArgumentError(
                "the first message of a stream must be picture_spec",
                reason="NO_PICTURE_SPEC",
                field="picture_spec",
            )
        check_picture_spec(message.picture_spec)
        await self._context.send_initial_metadata(())  # the peer learns that it was understood
        while (content := await self._context.read()) is not EOF:
            self._take(parse(content, pb.AnnotateRequest))
            if not self._room.is_set():
                await self._room.wait()

    async def _first(self) -> Any:
        try:
            return await asyncio.wait_for(self._context.read(), self._handshake_s)
        except TimeoutError:
            raise DeadlineExceededError(
                f"the stream's first message did not come within {self._handshake_s:g} s",
                reason="NO_PICTURE_SPEC",
                field="picture_spec",
            ) from None

    def _take(self, message: pb.AnnotateRequest) -> None:
        kind = message.WhichOneof("message")
        if kind == "requests":
            requests = message.requests.requests
            if len(requests) > MAX_REQUESTS_PER_MESSAGE:
                raise InvalidArgumentError(
                    f"a message has {len(requests)} requests; at most {MAX_REQUESTS_PER_MESSAGE} are allowed",
                    reason="TOO_MANY_REQUESTS",
                    field="requests.requests",
                )
            self._pending += len(requests)
            for request in requests:
                self._asker.ask(request)
        elif kind == "progress":
            self._asker.progress(message.progress.latest)
        elif kind == "cancel":
            self._asker.cancel(list(message.cancel.keys))
        else:
            raise InvalidArgumentError(
                "after the first message of a stream, each one must carry requests, progress or cancel",
                reason="UNEXPECTED_MESSAGE",
                field="message",
            )

    def _answer(self, feedback: feedback_pb2.Feedback) -> None:
        self._pending -= 1
        self._outbox.append(feedback)
        self._changed.set()
        if len(self._outbox) >= MAX_UNREAD:
            self._room.clear()

    async def _write(self) -> None:
        """Writes until the stream has been told to end and nothing is missing; answers of one turn go together."""
        while True:
            while self._outbox:
                count = min(len(self._outbox), MAX_ANSWERS_PER_MESSAGE)
                response = pb.AnnotateResponse(feedback=[self._outbox.popleft() for _ in range(count)])
                response.credits = max(0, self._asker.credits)
                await self._context.write(response.SerializeToString())
                if len(self._outbox) < MAX_UNREAD // 2:
                    self._room.set()
            if self._last and not self._pending:
                return
            self._changed.clear()
            await self._changed.wait()
