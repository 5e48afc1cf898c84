"""A real Triton for tests, and small models for it with the tensors of ``clip_score``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from feedback_service import coach_environment
from feedback_service.triton.client import TritonClient

CONFIG = """
backend: "python"
max_batch_size: 32
input [
  { name: "picture" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "context" data_type: TYPE_INT32 dims: [ 1 ] }
]
output [
  { name: "probabilities" data_type: TYPE_FP32 dims: [ 30 ] },
  { name: "error" data_type: TYPE_STRING dims: [ 1 ] }
]
dynamic_batching { }
instance_group [ { kind: KIND_CPU count: 1 } ]
parameters [ { key: "directory" value: { string_value: "/nowhere" } } ]
"""
NUMPY = '''
import os, signal, time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    """Probabilities: the context in every column, NaN in a row without a picture. Some pictures are orders."""

    def execute(self, requests):
        responses = []
        for request in requests:
            pictures = pb_utils.get_input_tensor_by_name(request, "picture").as_numpy()
            contexts = pb_utils.get_input_tensor_by_name(request, "context").as_numpy()
            if b"die" in pictures:
                os.kill(os.getpid(), signal.SIGKILL)
            if b"hang" in pictures:
                time.sleep(1000)
            if b"work" in pictures:
                time.sleep(0.5)
            probabilities = np.repeat(contexts.astype(np.float32), 30, axis=1)
            probabilities[pictures[:, 0] == b""] = np.nan
            errors = np.array([[b"" if row[0] else b"no picture"] for row in pictures], dtype=np.object_)
            tensors = [pb_utils.Tensor("probabilities", probabilities), pb_utils.Tensor("error", errors)]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
'''
ROWS = '''
import numpy as np
from feedback_service.models.triton_rows import RowModel, texts

class TritonPythonModel(RowModel):
    """Probabilities: the rows of the call, NaN in a row without a picture."""

    inputs = ("picture", "context")

    def load(self, directory, parameters):
        print("loads", directory)

    def warm_up(self, picture):
        assert picture.startswith(b"\\x89PNG")

    def answer(self, pictures, contexts):
        if b"raise" in pictures.tolist():
            raise KeyError("what a model may raise")
        probabilities = np.full((len(pictures), 30), len(pictures), np.float32)
        probabilities[:, 0] = contexts
        probabilities[[not picture for picture in pictures]] = np.nan
        return {"probabilities": probabilities, "error": texts(["" if one else "no picture" for one in pictures])}
'''
SLOW_TO_LOAD = NUMPY + "\nimport time\ntime.sleep(1000)\n"
HALF_WRITTEN = NUMPY[: len(NUMPY) // 2]


def real_environment():
    """The environment of the models; without it there is no Triton to test with."""
    environment = coach_environment.find()
    if environment is None:
        pytest.skip("the models' environment is not there: make coach")
    return environment


def put_model(repository: Path, name: str, source: str = NUMPY, config: str = CONFIG) -> None:
    folder = repository / name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(config)
    (folder / "1" / "model.py").write_text(source)


async def ask(client: TritonClient, model: str, *pictures: bytes, contexts=None, timeout_s: float = 30):
    contexts = list(range(len(pictures))) if contexts is None else contexts
    result = await client.infer(
        model,
        {"picture": list(pictures), "context": np.array(contexts, np.int32)[:, None]},
        ["probabilities", "error"],
        timeout_s,
    )
    return result.outputs["probabilities"], result.outputs["error"]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def processes(marker: str) -> list[int]:
    """Processes with this in their command line; not zombies, which have none."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if pid != os.getpid() and marker in command_line(pid)]


def server_pid(marker: str) -> int:
    (pid,) = (pid for pid in processes(marker) if command_line(pid).split("\0")[0].endswith("/tritonserver"))
    return pid


def shared_memory(run: str) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if run in name]


def eventually(fact, timeout_s: float = 20.0) -> bool:
    until = time.monotonic() + timeout_s
    while not fact():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
