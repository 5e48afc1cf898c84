"""The blocking client of an agent server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Type

import grpc

from codriver import connection
from codriver.drive_stream import DriveStream
from codriver.errors import CodriverError, UnavailableError
from codriver.rpc_status import from_rpc_error
from codriver.v1 import action_pb2, agent_service_pb2, agent_service_pb2_grpc, observation_pb2

if TYPE_CHECKING:
    from types import TracebackType


class AgentClient:
    """Talks to one agent server; a context manager. Safe to use from several threads, not across ``fork``.

    Args:
        address: ``HOST:PORT`` or ``unix:PATH``.
        timeout_s: Longest wait of every call, where the call does not say otherwise.
        credentials: TLS credentials; None for a plain connection (loopback, unix socket, trusted network).
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
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        self._metadata = connection.metadata(token)
        self._stub = agent_service_pb2_grpc.AgentServiceStub(self._channel)

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Waits until the server accepts connections.

        Raises:
            UnavailableError: It does not in time.
        """
        limit = self.timeout_s if timeout_s is None else timeout_s
        try:
            grpc.channel_ready_future(self._channel).result(timeout=limit)
        except grpc.FutureTimeoutError:
            raise UnavailableError(
                f"no server answers at {self.address} after {limit:g} s",
                hint="Is it running, and is the address right?",
            ) from None

    def server_info(self, timeout_s: float | None = None) -> agent_service_pb2.GetServerInfoResponse:
        """What the server is and which policies it serves."""
        info: agent_service_pb2.GetServerInfoResponse = self.call(
            "GetServerInfo", agent_service_pb2.GetServerInfoRequest(), timeout_s
        )
        return info

    def open_session(
        self,
        request: agent_service_pb2.OpenSessionRequest | None = None,
        timeout_s: float | None = None,
        **fields: Any,
    ) -> Session:
        """Opens a session.

        Args:
            request: The request; or
            timeout_s: Longest wait.
            **fields: Fields of ``OpenSessionRequest``. Defaults: the standard driving specs, one environment, the
                server's default policy. ``policy`` may be an id.

        Raises:
            CodriverError: The server refuses; ``violations`` name each field at fault.
        """
        request = request or connection.session_request(fields)
        response = self.call("OpenSession", request, timeout_s)
        return Session(self, request, response)

    def call(self, method: str, request: Any, timeout_s: float | None = None) -> Any:
        """Any unary call of ``AgentService`` by name, with deadline and errors as everywhere in this class."""
        try:
            return getattr(self._stub, method)(
                request, timeout=self.timeout_s if timeout_s is None else timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, f"{method} of {self.address}") from None

    def close(self) -> None:
        """Closes the connection; open sessions stay at the server until their idle timeout."""
        self._channel.close()

    def __enter__(self) -> AgentClient:
        return self

    def __exit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session:
    """An open session; a context manager that closes it.

    Attributes:
        request: What was asked.
        info: What was agreed: session id, spec hash, policy, credits, limits.
    """

    def __init__(
        self,
        client: AgentClient,
        request: agent_service_pb2.OpenSessionRequest,
        info: agent_service_pb2.OpenSessionResponse,
    ) -> None:
        self.request = request
        self.info = info
        self._client = client
        self._stream: DriveStream | None = None
        self._closed = False

    def drive(self, timeout_s: float | None = None) -> DriveStream:
        """Attaches a stream. A session has at most one; after a lost connection, call this again.

        Raises:
            CodriverError: The server refuses, or is gone.
        """
        self._stream = DriveStream(self._client, self.info, timeout_s)
        return self._stream

    def act(
        self, observations: observation_pb2.ObservationBatch, timeout_s: float | None = None
    ) -> action_pb2.ActionBatch:
        """One batch as a unary call, for callers without a stream."""
        request = agent_service_pb2.ActRequest(
            session_id=self.info.session_id, resume_token=self.info.resume_token, observations=observations
        )
        response: agent_service_pb2.ActResponse = self._client.call("Act", request, timeout_s)
        return response.actions

    def close(self, timeout_s: float | None = None) -> agent_service_pb2.CloseSessionResponse | None:
        """Ends the session and its stream; returns what it did. None when it was closed before."""
        if self._closed:
            return None
        self._closed = True
        request = agent_service_pb2.CloseSessionRequest(
            session_id=self.info.session_id, resume_token=self.info.resume_token
        )
        try:
            response: agent_service_pb2.CloseSessionResponse = self._client.call(
                "CloseSession", request, timeout_s
            )
            return response
        finally:
            if self._stream is not None:
                self._stream.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except CodriverError:
            ended = self._stream is not None and self._stream.has_ended
            if error is None and not ended:  # otherwise the first error is the one to see
                raise
