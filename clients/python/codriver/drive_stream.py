"""The blocking side of a Drive stream."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Iterator, List, Type

import grpc

from codriver import connection
from codriver.errors import CodriverError, DeadlineExceededError
from codriver.rpc_status import from_rpc_error
from codriver.v1 import action_pb2, agent_service_pb2, feedback_pb2, observation_pb2

if TYPE_CHECKING:
    from types import TracebackType

    from codriver.client import AgentClient


class DriveStream:
    """An attached Drive stream: batches out, actions in. A context manager.

    One thread may send and another receive. A timeout of :meth:`receive` or :meth:`wait_feedback` does not end the
    stream.

    Attributes:
        state: What the server has told besides actions: feedback, log progress, drain.
    """

    def __init__(
        self,
        client: AgentClient,
        session: agent_service_pb2.OpenSessionResponse,
        timeout_s: float | None = None,
    ) -> None:
        self.state = connection.StreamState()
        self._timeout_s = client.timeout_s
        self._address = client.address
        self._requests: SimpleQueue[agent_service_pb2.DriveRequest | None] = SimpleQueue()
        self._responses: SimpleQueue[agent_service_pb2.DriveResponse | CodriverError | None] = SimpleQueue()
        self._end: CodriverError | None = None
        self._call = client._stub.Drive(self._outgoing(), metadata=client._metadata)
        threading.Thread(target=self._read, name="codriver-drive", daemon=True).start()
        attach = agent_service_pb2.Attach(session_id=session.session_id, resume_token=session.resume_token)
        self._requests.put(agent_service_pb2.DriveRequest(attach=attach))
        try:
            self.state.take(self._next(self._timeout_s if timeout_s is None else timeout_s, "Attached"))
            self.state.check_attached()
        except CodriverError:
            self.close()
            raise

    def send(self, observations: observation_pb2.ObservationBatch) -> None:
        """Sends a batch without waiting for its answer.

        Raises:
            CodriverError: The stream has ended.
        """
        if self._end is not None:
            raise self._end
        self._requests.put(agent_service_pb2.DriveRequest(observations=observations))

    def receive(self, timeout_s: float | None = None) -> action_pb2.ActionBatch:
        """The next answer, in the order of arrival (batches may overtake each other).

        Raises:
            DeadlineExceededError: None came in time; the stream goes on.
            CodriverError: The stream has ended; why.
        """
        if self.state.actions:
            return self.state.actions.popleft()
        limit = self._timeout_s if timeout_s is None else timeout_s
        end = time.monotonic() + limit
        while True:
            actions = self.state.take(
                self._next(max(0.0, end - time.monotonic()), f"actions for {limit:g} s")
            )
            if actions is not None:
                return actions

    def wait_feedback(self, timeout_s: float | None = None) -> List[feedback_pb2.Feedback]:
        """Takes all feedback that has arrived; waits for some where there is none.

        Actions that arrive meanwhile are kept for :meth:`receive`.

        Args:
            timeout_s: Longest wait. 0: only what is here already. None: as long as every call.

        Returns:
            In order of arrival; empty when none came in time.

        Raises:
            CodriverError: The stream has ended; what came before is in ``state.feedback``.
        """
        end = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            left = 0.0 if self.state.feedback else max(0.0, end - time.monotonic())
            try:
                self.state.keep(self._next(left, "feedback"))
            except DeadlineExceededError:
                if self._end is not None:
                    raise
                return self.state.take_feedback()

    def step(
        self, observations: observation_pb2.ObservationBatch, timeout_s: float | None = None
    ) -> action_pb2.ActionBatch:
        """Sends a batch and waits for its answer; for callers with one batch in flight."""
        self.send(observations)
        return self.receive(timeout_s)

    @property
    def has_ended(self) -> bool:
        """True once the server has ended the stream, or the connection was lost, and a call has noticed."""
        return self._end is not None

    def close(self) -> None:
        """Detaches; the session stays open. Safe to call twice."""
        self._requests.put(None)
        self._call.cancel()

    def __enter__(self) -> DriveStream:
        return self

    def __exit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _outgoing(self) -> Iterator[agent_service_pb2.DriveRequest]:
        while True:
            request = self._requests.get()
            if request is None:
                return
            yield request

    def _read(self) -> None:
        """Runs in a thread of its own, since a gRPC stream cannot be read with a timeout."""
        try:
            for response in self._call:
                self._responses.put(response)
            self._responses.put(None)
        except grpc.RpcError as error:
            self._responses.put(from_rpc_error(error, f"actions from {self._address}"))

    def _next(self, timeout_s: float, waiting_for: str) -> agent_service_pb2.DriveResponse:
        if self._end is not None:
            raise self._end
        try:
            response = self._responses.get(timeout=timeout_s)
        except Empty:
            raise DeadlineExceededError(
                f"waited in vain at {self._address} for {waiting_for}",
                hint="Raise timeout_s, or look at the server.",
            ) from None
        if response is None:
            response = self.state.ended()
        if isinstance(response, CodriverError):
            self._end = response
            raise response
        return response
