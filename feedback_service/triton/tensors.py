"""Tensors as KServe v2 carries them in raw contents.

Numbers are little-endian and row-major; an element of BYTES is its length (uint32, little-endian) and its bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from feedback_service.triton.errors import TritonError, TritonReason

Tensor = NDArray[Any] | list[bytes]
"""Numbers of any shape, or the elements of a BYTES tensor, one a row."""

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT8": np.dtype(np.int8),
    "INT32": np.dtype("<i4"),
    "UINT32": np.dtype("<u4"),
    "INT64": np.dtype("<i8"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT32": "int_contents",
    "UINT32": "uint_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_LENGTH = struct.Struct("<I")


def add_input(request: service_pb2.ModelInferRequest, name: str, tensor: Tensor) -> None:
    """Puts an input into a request.

    Args:
        request: Where to.
        name: The input's name.
        tensor: Numbers with the batch as first dimension, or B elements of a BYTES input of shape (B, 1).

    Raises:
        TypeError: The dtype has no name in KServe.
    """
    if isinstance(tensor, list):
        parts = []
        for element in tensor:
            parts.append(_LENGTH.pack(len(element)))
            parts.append(element)
        request.inputs.add(name=name, datatype="BYTES", shape=(len(tensor), 1))
        request.raw_input_contents.append(b"".join(parts))
        return
    datatype = _NAMES.get(tensor.dtype.newbyteorder("<"))
    if datatype is None:
        raise TypeError(f"{name}: {tensor.dtype} cannot be sent to Triton")
    request.inputs.add(name=name, datatype=datatype, shape=tensor.shape)
    request.raw_input_contents.append(tensor.astype(_DTYPES[datatype], copy=False).tobytes())


def read_outputs(response: service_pb2.ModelInferResponse, names: Sequence[str]) -> dict[str, Tensor]:
    """The named outputs of an answer, with every size checked.

    Args:
        response: The answer.
        names: Outputs that must be there; others are ignored.

    Returns:
        By name: an array of the answered shape, or for BYTES the list of its elements.

    Raises:
        TritonError: BAD_ANSWER.
    """
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise _bad(f"{len(response.outputs)} outputs with {len(raw)} contents")
    wanted = set(names)
    found: dict[str, Tensor] = {}
    for index, output in enumerate(response.outputs):
        if output.name in wanted:
            found[output.name] = _read(output, raw[index] if raw else None)
    missing = [name for name in names if name not in found]
    if missing:
        raise _bad(f"no output {missing[0]!r}")
    return found


def _read(output: Any, raw: bytes | None) -> Tensor:
    shape = tuple(output.shape)
    count = math.prod(shape)
    if any(extent < 0 for extent in shape):
        raise _bad(f"output {output.name!r} has shape {list(shape)}")
    if raw is None:
        return _typed(output, shape, count)
    if output.datatype == "BYTES":
        return _elements(output.name, raw, count)
    dtype = _DTYPES.get(output.datatype)
    if dtype is None:
        raise _bad(f"output {output.name!r} has datatype {output.datatype!r}")
    if len(raw) != count * dtype.itemsize:
        raise _bad(f"output {output.name!r} has {len(raw)} bytes for {output.datatype} {list(shape)}")
    return np.frombuffer(raw, dtype).reshape(shape)


def _elements(name: str, raw: bytes, count: int) -> list[bytes]:
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) <= count:
        if at + 4 > len(raw):
            raise _bad(f"output {name!r} is cut off")
        start = at + 4
        at = start + _LENGTH.unpack_from(raw, at)[0]
        if at > len(raw):
            raise _bad(f"output {name!r} is cut off")
        elements.append(raw[start:at])
    if len(elements) != count:
        raise _bad(f"output {name!r} has {len(elements)} elements for {count}")
    return elements


def _typed(output: Any, shape: tuple[int, ...], count: int) -> Tensor:
    """Contents in the message's own fields, as servers other than Triton may send them."""
    field = _CONTENTS.get(output.datatype)
    if field is None:
        raise _bad(f"output {output.name!r} has datatype {output.datatype!r}")
    values: Iterable[Any] = getattr(output.contents, field)
    listed = list(values)
    if len(listed) != count:
        raise _bad(f"output {output.name!r} has {len(listed)} elements for {count}")
    if field == "bytes_contents":
        return listed
    return np.array(listed, _DTYPES[output.datatype]).reshape(shape)


def _bad(detail: str) -> TritonError:
    return TritonError(TritonReason.BAD_ANSWER, detail)
