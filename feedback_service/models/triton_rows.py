"""From Triton's batch of requests to one batch of rows and back; what the models behind Triton have in common.

Each request has rows of its own. All rows of all requests go through the model in one call, which is what Triton's
dynamic batching is for. Runs in Triton's Python stub: whatever is raised here must end as an error of a request.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

Column = NDArray[Any]
"""Of one input or output: (rows,) with an element for each row, or (rows, size)."""
_BETWEEN_TRACEBACKS_S = 10.0


class RowModel(ABC):
    """A Triton model that answers rows; ``TritonPythonModel`` of each kind is one.

    Attributes:
        inputs: Names of the inputs that :meth:`answer` gets, in its order.
    """

    inputs: tuple[str, ...] = ()
    _next_traceback = 0.0

    def initialize(self, args: Mapping[str, str]) -> None:
        """Triton's call at load: loads the model and answers a grey picture once.

        Raises:
            ValueError: The configuration names no directory.
        """
        parameters = _parameters(args)
        directory = parameters.get("directory", "")
        if not directory:
            raise ValueError("the parameter `directory` of config.pbtxt is not set")
        self.load(Path(directory), parameters)
        self.warm_up(grey_picture())

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Triton's call for a batch of requests: one response each, whatever happens."""
        responses: list[Any] = [None] * len(requests)
        gathered: list[tuple[int, list[Column]]] = []
        for index, request in enumerate(requests):
            if request.is_cancelled():
                responses[index] = _failed("nobody waits for it", pb_utils.TritonError.CANCELLED)
                continue
            try:
                gathered.append((index, [_column(request, name) for name in self.inputs]))
            except ValueError as error:
                responses[index] = _failed(str(error), pb_utils.TritonError.INVALID_ARG)
        if gathered:
            self._answer(gathered, responses)
        return responses

    def _answer(self, gathered: list[tuple[int, list[Column]]], responses: list[Any]) -> None:
        sizes = [len(columns[0]) for _, columns in gathered]
        try:
            columns = [np.concatenate(parts) for parts in zip(*(columns for _, columns in gathered))]
            outputs = self.answer(*columns)
            for name, output in outputs.items():
                if len(output) != sum(sizes):
                    raise ValueError(f"{len(output)} rows of {name} for {sum(sizes)}")
        except Exception as error:  # noqa: BLE001 - a stub that dies takes every later request with it
            self._print_traceback()
            for index, _ in gathered:
                responses[index] = _failed(f"{type(error).__name__}: {error}", pb_utils.TritonError.INTERNAL)
            return
        start = 0
        for (index, _), size in zip(gathered, sizes):
            rows = slice(start, start + size)
            tensors = [pb_utils.Tensor(name, output[rows]) for name, output in outputs.items()]
            responses[index] = pb_utils.InferenceResponse(tensors)
            start += size

    def _print_traceback(self) -> None:
        """Into Triton's log, but not for every call of a model that always fails."""
        now = time.monotonic()
        if now >= self._next_traceback:
            self._next_traceback = now + _BETWEEN_TRACEBACKS_S
            traceback.print_exc(file=sys.stderr)

    @abstractmethod
    def load(self, directory: Path, parameters: Mapping[str, str]) -> None:
        """Loads the model of ``directory``; what is raised is why the load failed."""

    @abstractmethod
    def warm_up(self, picture: bytes) -> None:
        """Answers a PNG once, so that the first request does not pay for what is made on first use."""

    @abstractmethod
    def answer(self, *columns: Column) -> dict[str, Column]:
        """Answers all rows.

        Args:
            columns: The inputs, (rows,) each.

        Returns:
            The outputs by name, (rows, size) each, in arrays of NumPy that own their memory.
        """


def threads(parameters: Mapping[str, str]) -> int:
    """The parameter ``threads``; without it, the number of cores less one."""
    given = parameters.get("threads", "")
    return int(given) if given else max(1, len(os.sched_getaffinity(0)) - 1)


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """A parameter that is ``true`` or ``false``."""
    return parameters.get(name, "").strip().lower() in ("true", "1", "yes", "on")


def texts(lines: Sequence[str]) -> Column:
    """A BYTES output, (rows, 1), of one text a row."""
    column = np.empty((len(lines), 1), dtype=np.object_)
    column[:, 0] = [line.encode() for line in lines]
    return column


def grey_picture(size_px: int = 192) -> bytes:
    """A PNG of one grey."""
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (size_px, size_px), (96, 96, 96)).save(file, format="PNG")
    return file.getvalue()


def _parameters(args: Mapping[str, str]) -> dict[str, str]:
    config = json.loads(args["model_config"])
    return {key: str(value["string_value"]) for key, value in config.get("parameters", {}).items()}


def _column(request: Any, name: str) -> Column:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        raise ValueError(f"input {name} is missing")
    array = tensor.as_numpy()
    if array.ndim != 2 or array.shape[1] != 1:
        raise ValueError(f"input {name} has shape {list(array.shape)}, not [rows, 1]")
    return np.asarray(array[:, 0])


def _failed(reason: str, code: Any) -> Any:
    error = pb_utils.TritonError(" ".join(reason.split())[:300], code)
    return pb_utils.InferenceResponse(error=error)
