"""The asyncio side of a Drive stream."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, List, Type

import grpc
import grpc.aio

from codriver import connection
from codriver.errors import CodriverError, DeadlineExceededError
from codriver.rpc_status import from_rpc_error
from codriver.v1 import action_pb2, agent_service_pb2, feedback_pb2, observation_pb2

if TYPE_CHECKING:
    from types import TracebackType

    from codriver.aio import AsyncAgentClient


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
        if self.state.actions:
            return self.state.actions.popleft()
        limit = self._timeout_s if timeout_s is None else timeout_s
        end = time.monotonic() + limit
        while True:
            actions = self.state.take(
                await self._next(max(0.0, end - time.monotonic()), f"actions for {limit:g} s")
            )
            if actions is not None:
                return actions

    async def wait_feedback(self, timeout_s: float | None = None) -> List[feedback_pb2.Feedback]:
        """Takes all feedback that has arrived; see :meth:`codriver.drive_stream.DriveStream.wait_feedback`."""
        end = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            left = 0.0 if self.state.feedback else max(0.0, end - time.monotonic())
            try:
                self.state.keep(await self._next(left, "feedback"))
            except DeadlineExceededError:
                if self._end is not None:
                    raise
                return self.state.take_feedback()

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
