"""An asyncio client of a Triton server, or of whatever else speaks KServe v2 over gRPC.

One unary call is one task's await: its timeout is the call's deadline on the wire, and cancelling the task cancels the
call. There are no retries here; what failed has a name (:class:`~feedback_service.triton.errors.TritonReason`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from feedback_service.triton.errors import TritonError, TritonReason, from_rpc_error
from feedback_service.triton.tensors import Tensor, add_input, read_outputs

__all__ = ["InferResult", "Tensor", "TritonClient", "TritonError", "TritonReason"]

MAX_REQUEST_BYTES = 128 * 1024 * 1024
MAX_ANSWER_BYTES = 16 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # A Triton that was restarted is found again soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A machine that vanished without a word is noticed while a call waits. Servers drop a connection that pings more
    # often than every 5 minutes while they compute, and every call on it: a slow load would end all the others.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Retries are the dispatcher's, with its budget.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class InferResult:
    """What a model answered.

    Attributes:
        outputs: By name; arrays, or lists of the elements of BYTES outputs.
        model_version: Triton's version of the model, as "1".
        inference_us: Time from the call to its answer, in microseconds: the wire, Triton's queue and the model.
    """

    outputs: dict[str, Tensor]
    model_version: str
    inference_us: int


class TritonClient:
    """One channel to one server.

    To be made and used inside a running event loop.

    Args:
        address: ``HOST:PORT`` or ``unix:PATH`` of its gRPC endpoint.
        credentials: TLS; None is plaintext.
    """

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.address = address
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        """Cancels what is under way and closes the channel."""
        await self._channel.close(None)

    async def infer(
        self, model: str, inputs: Mapping[str, Tensor], outputs: Sequence[str], timeout_s: float
    ) -> InferResult:
        """One batch through a model.

        Args:
            model: Name of the model; its version is Triton's choice.
            inputs: By name; arrays with the batch first, or B elements for BYTES inputs of shape (B, 1).
            outputs: Names of the outputs to get.
            timeout_s: Longest time to the answer.

        Raises:
            TritonError: There is no answer, or not one that keeps the protocol.
        """
        request = service_pb2.ModelInferRequest(model_name=model)
        for name, tensor in inputs.items():
            add_input(request, name, tensor)
        for name in outputs:
            request.outputs.add(name=name)
        start = time.perf_counter_ns()
        response = await _call(self._stub.ModelInfer, request, timeout_s)
        elapsed_us = (time.perf_counter_ns() - start) // 1000
        return InferResult(read_outputs(response, outputs), response.model_version, elapsed_us)

    async def live(self, timeout_s: float) -> bool:
        """Whether a server answers and says that it is live. Never raises a TritonError."""
        try:
            return bool((await _call(self._stub.ServerLive, service_pb2.ServerLiveRequest(), timeout_s)).live)
        except TritonError:
            return False

    async def model_ready(self, model: str, timeout_s: float) -> bool:
        """Whether a server answers and says that the model is ready. Never raises a TritonError.

        A Python model whose process died still counts as ready at Triton: only an answer of it is proof.
        """
        request = service_pb2.ModelReadyRequest(name=model)
        try:
            return bool((await _call(self._stub.ModelReady, request, timeout_s)).ready)
        except TritonError:
            return False

    async def load(self, model: str, timeout_s: float, config_json: str | None = None) -> None:
        """Loads a model, or loads it anew.

        Args:
            model: Its name in the repository.
            timeout_s: Longest time to wait; Triton may go on loading after it.
            config_json: Model configuration as JSON that replaces the one on disk.

        Raises:
            TritonError: It did not load; a model of that name that served before goes on.
        """
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        if config_json is not None:
            request.parameters["config"].string_param = config_json
        await _call(self._stub.RepositoryModelLoad, request, timeout_s)

    async def unload(self, model: str, timeout_s: float) -> None:
        """Unloads a model.

        Raises:
            TritonError: It could not be told to.
        """
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        await _call(self._stub.RepositoryModelUnload, request, timeout_s)

    async def metadata(self, model: str, timeout_s: float = 5.0) -> service_pb2.ModelMetadataResponse:
        """Inputs, outputs and versions of a model.

        Raises:
            TritonError: There is no answer.
        """
        return await _call(self._stub.ModelMetadata, service_pb2.ModelMetadataRequest(name=model), timeout_s)

    async def config(self, model: str, timeout_s: float = 5.0) -> service_pb2.ModelConfigResponse:
        """Configuration of a model.

        Raises:
            TritonError: There is no answer.
        """
        return await _call(self._stub.ModelConfig, service_pb2.ModelConfigRequest(name=model), timeout_s)

    async def index(self, timeout_s: float = 5.0) -> service_pb2.RepositoryIndexResponse:
        """Every model of the repository and its state.

        Raises:
            TritonError: There is no answer.
        """
        return await _call(self._stub.RepositoryIndex, service_pb2.RepositoryIndexRequest(), timeout_s)

    async def statistics(
        self, model: str = "", timeout_s: float = 5.0
    ) -> service_pb2.ModelStatisticsResponse:
        """Counts and times of a model, or of all.

        Raises:
            TritonError: There is no answer.
        """
        request = service_pb2.ModelStatisticsRequest(name=model)
        return await _call(self._stub.ModelStatistics, request, timeout_s)

    async def server_metadata(self, timeout_s: float = 5.0) -> service_pb2.ServerMetadataResponse:
        """Name, version and extensions of the server.

        Raises:
            TritonError: There is no answer.
        """
        return await _call(self._stub.ServerMetadata, service_pb2.ServerMetadataRequest(), timeout_s)


async def _call(method: Any, request: Any, timeout_s: float) -> Any:
    if timeout_s <= 0:
        raise TritonError(TritonReason.TIMED_OUT, "no time was left for the call")
    try:
        answer = await method(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody cancelled the task: the channel was closed under the call.
        raise TritonError(TritonReason.UNREACHABLE, "the client was closed") from None
    except grpc.aio.UsageError:
        raise TritonError(TritonReason.UNREACHABLE, "the client is closed") from None
    if answer is None:  # what gRPC makes of bytes that are no message
        raise TritonError(TritonReason.BAD_ANSWER, "the answer is not a message of KServe v2")
    return answer
