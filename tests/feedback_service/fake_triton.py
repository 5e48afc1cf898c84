"""A scripted server that speaks KServe v2 over gRPC, as Triton does: well, slowly, wrongly, or not at all."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2

GOOD_TEXT = '{"throttle": 0.50, "steer": -0.10, "brake": 0.00}'


@dataclass(frozen=True)
class FakeRow:
    """One row as the model sees it.

    Attributes:
        picture: PNG file.
        told: The prompt of a VLM, the context index of a CLIP.
    """

    picture: bytes
    told: Any


def good_probabilities(row: FakeRow) -> np.ndarray:
    """Of a CLIP that is sure of the anchor with the context's number."""
    table = np.full(30, 0.1 / 29, np.float32)
    table[row.told] = 0.9
    return table


@dataclass
class FakeModel:
    """A model and how it behaves; everything may be changed while it serves.

    Attributes:
        kind: ``"vlm"`` or ``"clip"``.
        delay_s: Time per call.
        row_delay_s: Time per row of a call; calls go one after the other, as on one device.
        fail: Status and message of every call; None: calls are answered.
        fail_next: That status only for the next so many calls; -1: for all.
        hang: True: calls never end.
        ready: What it says of itself.
        version: Version in its answers.
        answer: Text of a VLM (str or bytes), probabilities of a CLIP, for a row.
        error: The ``error`` output for a row.
        poison: Calls with such a row fail as a whole.
        broken: Name of a way to answer wrongly; see :meth:`FakeTriton.BROKEN`.
        batches: Rows of each call so far.
        rows: Every row so far.
        cancelled: Calls that the client cancelled.
        busiest: Most calls at once.
    """

    kind: str = "vlm"
    delay_s: float = 0.0
    row_delay_s: float = 0.0
    fail: tuple[grpc.StatusCode, str] | None = None
    fail_next: int = -1
    hang: bool = False
    ready: bool = True
    version: str = "1"
    answer: Callable[[FakeRow], Any] | None = None
    error: Callable[[FakeRow], str] = lambda row: ""
    poison: Callable[[FakeRow], bool] = lambda row: False
    broken: str = ""
    batches: list[int] = field(default_factory=list)
    rows: list[FakeRow] = field(default_factory=list)
    cancelled: int = 0
    running: int = 0
    busiest: int = 0
    device: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def calls(self) -> int:
        """Calls so far."""
        return len(self.batches)


class FakeTriton:
    """A server with some models.

    Args:
        address: Where to listen, as ``unix:PATH``; it can be stopped and started there again.
        models: Its models by name.
    """

    BROKEN = (
        "not_protobuf",
        "no_outputs",
        "missing_output",
        "other_shape",
        "other_rows",
        "other_dtype",
        "cut_contents",
        "huge_length",
        "too_large",
        "contents_missing",
        "negative_shape",
    )

    def __init__(self, address: str, **models: FakeModel) -> None:
        self.address = address
        self.models = models
        self.loads: list[tuple[str, str | None]] = []
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> FakeTriton:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.kill()

    async def start(self) -> None:
        """Starts to listen."""
        unary = {
            "ModelInfer": (service_pb2.ModelInferRequest, self._infer),
            "ModelReady": (service_pb2.ModelReadyRequest, self._model_ready),
            "ServerLive": (service_pb2.ServerLiveRequest, self._live),
            "ServerMetadata": (service_pb2.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": (service_pb2.ModelMetadataRequest, self._metadata),
            "ModelConfig": (service_pb2.ModelConfigRequest, self._config),
            "ModelStatistics": (service_pb2.ModelStatisticsRequest, self._statistics),
            "RepositoryIndex": (service_pb2.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": (service_pb2.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": (service_pb2.RepositoryModelUnloadRequest, self._unload),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                handler,
                request_deserializer=request.FromString,
                response_serializer=lambda answer: (
                    answer if isinstance(answer, bytes) else answer.SerializeToString()
                ),
            )
            for name, (request, handler) in unary.items()
        }
        self._server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
        )
        port = self._server.add_insecure_port(self.address)
        if self.address.endswith(":0"):
            self.address = f"{self.address.rpartition(':')[0]}:{port}"
        await self._server.start()

    async def kill(self) -> None:
        """Stops at once; calls under way break."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def _model(self, name: str, context: Any) -> FakeModel:
        if name not in self.models:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, f"Request for unknown model: '{name}' is not found"
            )
        return self.models[name]

    async def _infer(self, request: Any, context: Any) -> Any:
        model = await self._model(request.model_name, context)
        rows = _rows(request)
        model.batches.append(len(rows))
        model.rows.extend(rows)
        model.running += 1
        model.busiest = max(model.busiest, model.running)
        try:
            if model.hang:
                await asyncio.Event().wait()
            await asyncio.sleep(model.delay_s)
            if model.row_delay_s:
                async with model.device:
                    await asyncio.sleep(model.row_delay_s * len(rows))
        except asyncio.CancelledError:
            model.cancelled += 1
            raise
        finally:
            model.running -= 1
        if model.fail is not None and model.fail_next != 0:
            model.fail_next -= 1
            await context.abort(*model.fail)
        if any(model.poison(row) for row in rows):
            await context.abort(grpc.StatusCode.INTERNAL, "Failed to process the request(s): ValueError")
        return _answer(model, request.model_name, rows)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        model = self.models.get(request.name)
        if model is not None and model.hang:
            await asyncio.Event().wait()
        return service_pb2.ModelReadyResponse(ready=model is not None and model.ready)

    async def _live(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(
            name="triton", version="2.51.0", extensions=["model_repository"]
        )

    async def _metadata(self, request: Any, context: Any) -> Any:
        model = await self._model(request.name, context)
        answer = service_pb2.ModelMetadataResponse(name=request.name, versions=["1"], platform="python")
        told = ("prompt", "BYTES") if model.kind == "vlm" else ("context", "INT32")
        made = ("text", "BYTES", 1) if model.kind == "vlm" else ("probabilities", "FP32", 30)
        answer.inputs.add(name="picture", datatype="BYTES", shape=[-1, 1])
        answer.inputs.add(name=told[0], datatype=told[1], shape=[-1, 1])
        answer.outputs.add(name=made[0], datatype=made[1], shape=[-1, made[2]])
        answer.outputs.add(name="error", datatype="BYTES", shape=[-1, 1])
        return answer

    async def _config(self, request: Any, context: Any) -> Any:
        await self._model(request.name, context)
        answer = service_pb2.ModelConfigResponse()
        answer.config.name = request.name
        answer.config.max_batch_size = 32
        return answer

    async def _statistics(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelStatisticsResponse()

    async def _index(self, request: Any, context: Any) -> Any:
        answer = service_pb2.RepositoryIndexResponse()
        for name, model in self.models.items():
            answer.models.add(name=name, version="1", state="READY" if model.ready else "UNAVAILABLE")
        return answer

    async def _load(self, request: Any, context: Any) -> Any:
        config = request.parameters["config"].string_param if "config" in request.parameters else None
        self.loads.append((request.model_name, config))
        await self._model(request.model_name, context)
        return service_pb2.RepositoryModelLoadResponse()

    async def _unload(self, request: Any, context: Any) -> Any:
        self.models.pop(request.model_name, None)
        return service_pb2.RepositoryModelUnloadResponse()


def bytes_tensor(elements: list[bytes]) -> bytes:
    """Raw contents of a BYTES tensor."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _elements(raw: bytes) -> list[bytes]:
    elements = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        elements.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return elements


def _rows(request: Any) -> list[FakeRow]:
    inputs = {tensor.name: (tensor, raw) for tensor, raw in zip(request.inputs, request.raw_input_contents)}
    tensor, raw = inputs["picture"]
    pictures = _elements(raw)
    assert (tensor.datatype, list(tensor.shape)) == ("BYTES", [len(pictures), 1])
    if "prompt" in inputs:
        told: list[Any] = [prompt.decode() for prompt in _elements(inputs["prompt"][1])]
    else:
        tensor, raw = inputs["context"]
        assert (tensor.datatype, list(tensor.shape)) == ("INT32", [len(pictures), 1])
        told = np.frombuffer(raw, "<i4").tolist()
    assert len(told) == len(pictures)
    return [FakeRow(picture, one) for picture, one in zip(pictures, told)]


def _answer(model: FakeModel, name: str, rows: list[FakeRow]) -> Any:
    if model.broken == "not_protobuf":
        return b"\xff\xff garbage"
    answer = service_pb2.ModelInferResponse(model_name=name, model_version=model.version)
    if model.broken == "no_outputs":
        return answer
    count = len(rows) + (1 if model.broken == "other_rows" else 0)
    if model.kind == "vlm":
        made = model.answer or (lambda row: GOOD_TEXT)
        texts = [made(row) for row in rows]
        texts = [text if isinstance(text, bytes) else text.encode() for text in texts]
        _add(model, answer, "text", "BYTES", [count, 1], bytes_tensor(texts + [b""] * (count - len(rows))))
    else:
        made = model.answer or good_probabilities
        table = np.stack([np.asarray(made(row), np.float32) for row in rows] + [np.zeros(30, np.float32)])[
            :count
        ]
        _add(model, answer, "probabilities", "FP32", [count, 30], table.astype("<f4").tobytes())
    if model.broken != "missing_output":
        errors = [model.error(row).encode() for row in rows]
        answer.outputs.add(name="error", datatype="BYTES", shape=[len(rows), 1])
        answer.raw_output_contents.append(bytes_tensor(errors))
    return answer


def _add(model: FakeModel, answer: Any, name: str, datatype: str, shape: list[int], raw: bytes) -> None:
    if model.broken == "other_shape":
        shape = [*shape[:-1], shape[-1] + 3]
    elif model.broken == "negative_shape":
        shape = [-1, -1]
    elif model.broken == "other_dtype":
        datatype, raw = "INT64", np.zeros(shape, "<i8").tobytes()
    elif model.broken == "cut_contents":
        raw = raw[:-1]
    elif model.broken == "huge_length":
        raw = b"\xff\xff\xff\xff" + raw[4:]
    elif model.broken == "too_large":
        raw = bytes(20 * 1024 * 1024)
    answer.outputs.add(name=name, datatype=datatype, shape=shape)
    if model.broken != "contents_missing":
        answer.raw_output_contents.append(raw)
