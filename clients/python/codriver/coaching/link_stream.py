"""One connection of a feedback link: is anybody there, then one Annotate stream, written and read until it ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Iterator, Union

import grpc
import grpc.aio

from codriver.connection import channel_options, metadata, target
from codriver.errors import DeadlineExceededError, UnavailableError
from codriver.rpc_status import from_rpc_error
from codriver.v1 import feedback_pb2, feedback_service_pb2, feedback_service_pb2_grpc, tensor_pb2

Token = Union[None, str, Callable[[], str]]
"""A bearer token, or a function that reads it."""

MAY_PASS = (
    *("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"),
    *("CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED"),
)
"""Ends of a connection that another one may not meet."""

GATHER_S = 0.002
"""Pause before requests are written."""


class LinkStream:
    """A connection that is used once.

    Args:
        address: ``HOST:PORT`` or ``unix:PATH``.
        credentials: TLS credentials; None for a plain connection.
        token: Bearer token, or a function that reads it.
        connect_timeout_s: Longest wait for the service's first word.

    Attributes:
        heard_at: Monotonic time of the last message from the service; 0: none yet.
        credits: Requests that the service would still take, as it last said.
    """

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        token: Token,
        connect_timeout_s: float,
    ) -> None:
        self._address, self._connect_timeout_s, self._token = address, connect_timeout_s, token
        options = channel_options(address)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target(address), options)
        else:
            self._channel = grpc.aio.secure_channel(target(address), credentials, options)
        self._stub: Any = feedback_service_pb2_grpc.FeedbackServiceStub(self._channel)
        self._metadata = metadata(None)
        self._call: Any = None
        self._suspicion = ""
        self.heard_at = 0.0
        self.credits = 0

    async def connect(self) -> None:
        """Asks the service what it has: only one that answers is asked about pictures.

        Raises:
            CodriverError: Nobody answers there, or not to us.
        """
        try:
            self._metadata = metadata(self._token() if callable(self._token) else self._token)
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"the token cannot be read: {error}") from None
        listed = await self.list_coaches(self._connect_timeout_s)
        self.credits = listed.max_pending_per_session

    async def list_coaches(self, timeout_s: float) -> feedback_service_pb2.ListCoachesResponse:
        """What the service has."""
        try:
            listed: feedback_service_pb2.ListCoachesResponse = await self._stub.ListCoaches(
                feedback_service_pb2.ListCoachesRequest(), timeout=timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            found = from_rpc_error(error)
            if isinstance(found, DeadlineExceededError):
                found = DeadlineExceededError(f"it says nothing for {timeout_s:g} s")
            raise found from None
        return listed

    def suspect(self, why: str) -> None:
        """Gives the connection up: it does not look alive."""
        self._suspicion = self._suspicion or why
        if self._call is not None:
            self._call.cancel()

    async def run(
        self,
        picture_spec: tensor_pb2.TensorSpec,
        messages: Callable[[], Iterator[feedback_service_pb2.AnnotateRequest]],
        changed: asyncio.Event,
        take: Callable[[feedback_pb2.Feedback], None],
    ) -> None:
        """Serves an Annotate stream until it ends.

        Args:
            picture_spec: Layout of the pictures, the stream's first message.
            messages: What is to be sent now; asked for again after each ``changed``.
            changed: Set when there may be something to send.
            take: Gets each answer.

        Raises:
            CodriverError: What the stream ended with. Returns when the service ended it in good order.
        """
        self._call = self._stub.Annotate(metadata=self._metadata)
        writer = asyncio.ensure_future(self._write(picture_spec, messages, changed))
        try:
            async for response in self._call:
                self.heard_at = time.monotonic()
                self.credits = response.credits
                for feedback in response.feedback:
                    take(feedback)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        except asyncio.CancelledError:
            if not self._suspicion:
                raise
            raise UnavailableError(self._suspicion) from None
        finally:
            writer.cancel()
            self._call.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(
        self,
        picture_spec: tensor_pb2.TensorSpec,
        messages: Callable[[], Iterator[feedback_service_pb2.AnnotateRequest]],
        changed: asyncio.Event,
    ) -> None:
        try:
            await self._call.write(feedback_service_pb2.AnnotateRequest(picture_spec=picture_spec))
            while True:
                changed.clear()
                for message in messages():
                    await self._call.write(message)
                if not changed.is_set():
                    await changed.wait()
                # What asks is on its way to answer something faster: let that go first, and gather what comes with it.
                await asyncio.sleep(GATHER_S)
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the reader meets the same end, and says which it was
        except Exception as error:  # noqa: BLE001 - without a writer nothing would be asked any more
            self.suspect(f"cannot send: {error}")

    async def close(self) -> None:
        """Lets the connection go."""
        await self._channel.close(None)
