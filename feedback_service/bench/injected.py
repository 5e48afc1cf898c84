"""A Triton of known latency: answers every coach-model call well, after so many seconds, however many there are.

A program of its own (``python -m feedback_service.bench.injected --latency-s 10``): what it costs is not on anyone
else's event loop. It speaks the KServe v2 protocol as far as the feedback service does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from codriver.coaching.vocabulary import ANCHORS

TEXT = b'{"throttle": 0.35, "steer": -0.02, "brake": 0.0}'
MODELS = ("vlm_action", "clip_score")


class InjectedTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, untyped
    """Answers after a fixed time.

    Args:
        latency_s: That time.
        row_s: Time for each row of a call on top.
    """

    def __init__(self, latency_s: float, row_s: float = 0.0) -> None:
        self._latency_s, self._row_s = latency_s, row_s

    async def ServerLive(self, request: Any, context: Any) -> Any:
        """It is."""
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        """It is."""
        return service_pb2.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """Both models are."""
        return service_pb2.ModelReadyResponse(ready=request.name in MODELS)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Names and versions alone."""
        return service_pb2.ModelMetadataResponse(name=request.name, versions=["1"], platform="python")

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """The same good answer for every row."""
        rows = request.inputs[0].shape[0]
        wait_s = self._latency_s + self._row_s * rows
        if wait_s:
            await asyncio.sleep(wait_s)
        answer = service_pb2.ModelInferResponse(
            model_name=request.model_name, model_version="1", id=request.id
        )
        if request.model_name == "clip_score":
            _add(answer, "probabilities", "FP32", [rows, ANCHORS], _PROBABILITIES[:rows].tobytes())
        else:
            _add(answer, "text", "BYTES", [rows, 1], (len(TEXT).to_bytes(4, "little") + TEXT) * rows)
        _add(answer, "error", "BYTES", [rows, 1], bytes(4) * rows)
        return answer


_PROBABILITIES = np.full((64, ANCHORS), 1 / ANCHORS, np.float32)


def _add(answer: Any, name: str, datatype: str, shape: list[int], content: bytes) -> None:
    answer.outputs.add(name=name, datatype=datatype, shape=shape)
    answer.raw_output_contents.append(content)


async def serve(latency_s: float, row_s: float) -> None:
    """Serves on a free loopback port, which it prints, until the input ends."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InjectedTriton(latency_s, row_s), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--row-s", type=float, default=0.0)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.latency_s, arguments.row_s))
