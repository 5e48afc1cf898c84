"""The asyncio twin of :mod:`codriver.client`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Type

import grpc
import grpc.aio

from codriver import connection
from codriver.errors import CodriverError, DeadlineExceededError, UnavailableError
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


class AsyncDriveStream:
    """An attached Drive stream: batches out, actions in. One task may send and another receive.

    Attributes:
        state: What the server has told besides actions: feedback, log progress, drain.
    """

    def __init__(self, client: AsyncAgentClient) -> None:
        self.state = connection.StreamState()
        self._timeout_s = client.timeout_s
        self._address = client.address
        self._end: CodriverError | None = None
        self._call = client._stub.Drive(metadata=client._metadata)
        # Cancelling a read would cancel the whole stream, so a read outlives the wait for it.
        self._reading: asyncio.Future[Any] | None = None

    async def attach(
        self, session: agent_service_pb2.OpenSessionResponse, timeout_s: float | None = None
    ) -> None:
        """Sends the first message and waits for the server's."""
        attach = agent_service_pb2.Attach(session_id=session.session_id, resume_token=session.resume_token)
        try:
            await self._write(agent_service_pb2.DriveRequest(attach=attach))
            limit = self._timeout_s if timeout_s is None else timeout_s
            self.state.take(await self._next(limit, "Attached"))
            self.state.check_attached()
        except CodriverError:
            self.close()
            raise

    async def send(self, observations: observation_pb2.ObservationBatch) -> None:
        """Sends a batch without waiting for its answer."""
        await self._write(agent_service_pb2.DriveRequest(observations=observations))

    async def receive(self, timeout_s: float | None = None) -> action_pb2.ActionBatch:
        """The next answer, in the order of arrival; see :meth:`codriver.client.DriveStream.receive`."""
        limit = self._timeout_s if timeout_s is None else timeout_s
        end = time.monotonic() + limit
        while True:
            actions = self.state.take(
                await self._next(max(0.0, end - time.monotonic()), f"actions for {limit:g} s")
            )
            if actions is not None:
                return actions

    async def step(
        self, observations: observation_pb2.ObservationBatch, timeout_s: float | None = None
    ) -> action_pb2.ActionBatch:
        """Sends a batch and waits for its answer; for callers with one batch in flight."""
        await self.send(observations)
        return await self.receive(timeout_s)

    @property
    def has_ended(self) -> bool:
        """True once the server has ended the stream, or the connection was lost, and a call has noticed."""
        return self._end is not None

    def close(self) -> None:
        """Detaches; the session stays open. Safe to call twice."""
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()

    async def __aenter__(self) -> AsyncDriveStream:
        return self

    async def __aexit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _write(self, request: agent_service_pb2.DriveRequest) -> None:
        if self._end is not None:
            raise self._end
        try:
            await asyncio.wait_for(self._call.write(request), self._timeout_s)
        except asyncio.TimeoutError:
            self._end = DeadlineExceededError(
                f"{self._address} takes no more observations for {self._timeout_s:g} s"
            )
            raise self._end from None
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            await self._fail(error)

    async def _next(self, timeout_s: float, waiting_for: str) -> agent_service_pb2.DriveResponse:
        if self._end is not None:
            raise self._end
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait({self._reading}, timeout=timeout_s)
        if not done:
            raise DeadlineExceededError(
                f"waited in vain at {self._address} for {waiting_for}",
                hint="Raise timeout_s, or look at the server.",
            )
        reading, self._reading = self._reading, None
        try:
            response = reading.result()
        except (grpc.RpcError, asyncio.CancelledError, asyncio.InvalidStateError) as error:
            await self._fail(error)
        if not isinstance(response, agent_service_pb2.DriveResponse):  # grpc.aio.EOF
            self._end = self.state.ended()
            raise self._end
        return response

    async def _fail(self, error: BaseException) -> None:
        """Raises the stream's own error, which says more than the one that a read or write of it met."""
        if isinstance(error, grpc.RpcError):
            self._end = from_rpc_error(error, f"actions from {self._address}")
        else:
            code = await self._call.code()
            status = _EndedCall(code, await self._call.details() or "", await self._call.trailing_metadata())
            ok = code == grpc.StatusCode.OK
            self._end = self.state.ended() if ok else from_rpc_error(status, f"actions from {self._address}")
        raise self._end from None


class _EndedCall(grpc.RpcError):
    """A stream's final status in the shape that :func:`codriver.rpc_status.from_rpc_error` reads."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> None:
        super().__init__(details)
        self._status = code, details, trailing_metadata

    def code(self) -> grpc.StatusCode:
        return self._status[0]

    def details(self) -> str:
        return self._status[1]

    def trailing_metadata(self) -> Any:
        return self._status[2]
