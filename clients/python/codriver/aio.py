"""The asyncio twin of :mod:`codriver.client`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Type

import grpc
import grpc.aio

from codriver import connection
from codriver.aio_drive_stream import AsyncDriveStream
from codriver.errors import CodriverError, UnavailableError
from codriver.rpc_status import from_rpc_error
from codriver.v1 import action_pb2, agent_service_pb2, agent_service_pb2_grpc, observation_pb2

if TYPE_CHECKING:
    from types import TracebackType


class AsyncAgentClient:
    """Talks to one agent server from an event loop; an async context manager.

    Args:
        address: ``HOST:PORT`` or ``unix:PATH``.
        timeout_s: Longest wait of every call, where the call does not say otherwise.
        credentials: TLS credentials; None for a plain connection.
        token: Bearer token to send with every call.

    Raises:
        InvalidArgumentError: The address is none.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = connection.DEFAULT_TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        target, options = connection.target(address), connection.channel_options(address)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        self._metadata = connection.metadata(token)
        self._stub = agent_service_pb2_grpc.AgentServiceStub(self._channel)

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """Waits until the server accepts connections; ``UnavailableError`` when it does not in time."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        try:
            await asyncio.wait_for(self._channel.channel_ready(), limit)
        except asyncio.TimeoutError:
            raise UnavailableError(
                f"no server answers at {self.address} after {limit:g} s",
                hint="Is it running, and is the address right?",
            ) from None

    async def server_info(self, timeout_s: float | None = None) -> agent_service_pb2.GetServerInfoResponse:
        """What the server is and which policies it serves."""
        info: agent_service_pb2.GetServerInfoResponse = await self.call(
            "GetServerInfo", agent_service_pb2.GetServerInfoRequest(), timeout_s
        )
        return info

    async def open_session(
        self,
        request: agent_service_pb2.OpenSessionRequest | None = None,
        timeout_s: float | None = None,
        **fields: Any,
    ) -> AsyncSession:
        """Opens a session; see :meth:`codriver.client.AgentClient.open_session`."""
        request = request or connection.session_request(fields)
        response = await self.call("OpenSession", request, timeout_s)
        return AsyncSession(self, request, response)

    async def call(self, method: str, request: Any, timeout_s: float | None = None) -> Any:
        """Any unary call of ``AgentService`` by name, with deadline and errors as everywhere in this class."""
        try:
            return await getattr(self._stub, method)(
                request, timeout=self.timeout_s if timeout_s is None else timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, f"{method} of {self.address}") from None

    async def close(self) -> None:
        """Closes the connection; open sessions stay at the server until their idle timeout."""
        await self._channel.close(None)

    async def __aenter__(self) -> AsyncAgentClient:
        return self

    async def __aexit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncSession:
    """An open session; an async context manager that closes it.

    Attributes:
        request: What was asked.
        info: What was agreed: session id, spec hash, policy, credits, limits.
    """

    def __init__(
        self,
        client: AsyncAgentClient,
        request: agent_service_pb2.OpenSessionRequest,
        info: agent_service_pb2.OpenSessionResponse,
    ) -> None:
        self.request = request
        self.info = info
        self._client = client
        self._stream: AsyncDriveStream | None = None
        self._closed = False

    async def drive(self, timeout_s: float | None = None) -> AsyncDriveStream:
        """Attaches a stream. A session has at most one; after a lost connection, call this again."""
        self._stream = AsyncDriveStream(self._client)
        await self._stream.attach(self.info, timeout_s)
        return self._stream

    async def act(
        self, observations: observation_pb2.ObservationBatch, timeout_s: float | None = None
    ) -> action_pb2.ActionBatch:
        """One batch as a unary call, for callers without a stream."""
        request = agent_service_pb2.ActRequest(
            session_id=self.info.session_id, resume_token=self.info.resume_token, observations=observations
        )
        response: agent_service_pb2.ActResponse = await self._client.call("Act", request, timeout_s)
        return response.actions

    async def close(self, timeout_s: float | None = None) -> agent_service_pb2.CloseSessionResponse | None:
        """Ends the session and its stream; returns what it did. None when it was closed before."""
        if self._closed:
            return None
        self._closed = True
        request = agent_service_pb2.CloseSessionRequest(
            session_id=self.info.session_id, resume_token=self.info.resume_token
        )
        try:
            response: agent_service_pb2.CloseSessionResponse = await self._client.call(
                "CloseSession", request, timeout_s
            )
            return response
        finally:
            if self._stream is not None:
                self._stream.close()

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except CodriverError:
            ended = self._stream is not None and self._stream.has_ended
            if error is None and not ended:  # otherwise the first error is the one to see
                raise
