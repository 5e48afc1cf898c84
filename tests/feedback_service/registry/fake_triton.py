"""A peer that speaks KServe v2 with explicit model control; a model behaves as ``behaviour.json`` beside it says.

Its keys: ``load_error`` (text), ``failing_loads`` (how many; default all), ``load_s``, ``load_hangs``, ``never_ready``,
``infer_s``, ``answer`` (ok, nan, rows, row_error, error, nonsense).
"""

import asyncio
import json
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Notes what it was told: ``log`` has ("load" or "unload", model), ``answered`` the calls by model."""

    def __init__(self, repository):
        self.repository = repository
        self.loaded, self.calls, self.answered, self.log, self.dead = {}, {}, {}, [], set()
        self.most_loaded = 0
        self._failed_loads = Counter()

    async def start(self, address="127.0.0.1:0"):
        self.server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self.server)
        port = self.server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}" if port > 1 else address
        await self.server.start()
        return self

    async def stop(self):
        await self.server.stop(0)
        self.loaded.clear()

    def behaviour(self, model):
        config = text_format.Parse(
            (self.repository / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
        )
        directory = Path(config.parameters["directory"].string_value)
        file = directory / "behaviour.json"
        return {**(json.loads(file.read_text()) if file.exists() else {}), "directory": str(directory)}

    async def ServerLive(self, request, context):
        return service_pb2.ServerLiveResponse(live=True)

    async def ModelReady(self, request, context):
        state = self.loaded.get(request.name)
        return service_pb2.ModelReadyResponse(ready=state is not None and not state.get("never_ready"))

    async def ModelMetadata(self, request, context):
        return service_pb2.ModelMetadataResponse(name=request.name, versions=["1", "3", "2"])

    async def ModelStatistics(self, request, context):
        response = service_pb2.ModelStatisticsResponse()
        stats = response.model_stats.add(name=request.name).inference_stats
        stats.success.count = self.answered.get(request.name, 0)
        return response

    async def RepositoryModelLoad(self, request, context):
        model = request.model_name
        if not (self.repository / model / "config.pbtxt").exists():
            await context.abort(grpc.StatusCode.INTERNAL, f"failed to load '{model}', no such model")
        behaviour = self.behaviour(model)
        self.log.append(("load", model))
        await asyncio.sleep(600 if behaviour.get("load_hangs") else behaviour.get("load_s", 0))
        error = behaviour.get("load_error")
        if error is not None and self._failed_loads[error] < behaviour.get("failing_loads", 1e9):
            self._failed_loads[error] += 1
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error)
        self.loaded[model] = behaviour
        self.most_loaded = max(self.most_loaded, len(self.loaded))
        return service_pb2.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request, context):
        self.log.append(("unload", request.model_name))
        self.loaded.pop(request.model_name, None)
        return service_pb2.RepositoryModelUnloadResponse()

    async def ModelInfer(self, request, context):
        model = request.model_name
        if model not in self.loaded:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, f"Request for unknown model: '{model}' is not found"
            )
        behaviour = self.loaded[model]
        self.calls[model] = self.calls.get(model, 0) + 1
        await asyncio.sleep(behaviour.get("infer_s", 0))
        if model in self.dead or behaviour.get("answer") == "error":
            await context.abort(grpc.StatusCode.INTERNAL, "the stub process is not healthy")
        self.answered[model] = self.answered.get(model, 0) + 1
        rows = request.inputs[0].shape[0]
        return _answer(request, rows, behaviour.get("answer", "ok"))


def _answer(request, rows, how):
    response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
    counted = rows + 1 if how == "rows" else rows
    error = b"the picture is no PNG" if how == "row_error" else b""
    if {tensor.name for tensor in request.inputs} == {"picture", "prompt"}:
        text = b"no idea" if how == "nonsense" else b'{"throttle": 0.50, "steer": 0.00, "brake": 0.00}'
        _bytes(response, "text", [text] * counted)
    else:
        table = np.full((counted, 30), np.nan if how == "nan" else 1 / 30, "<f4")
        response.outputs.add(name="probabilities", datatype="FP32", shape=table.shape)
        response.raw_output_contents.append(table.tobytes())
    _bytes(response, "error", [error] * rows)
    return response


def _bytes(response, name, elements):
    response.outputs.add(name=name, datatype="BYTES", shape=[len(elements), 1])
    response.raw_output_contents.append(b"".join(len(e).to_bytes(4, "little") + e for e in elements))
