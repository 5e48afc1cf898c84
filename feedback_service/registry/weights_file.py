"""Safetensors files from the outside: names, dtypes and shapes, and whether the file is whole. No tensor is read."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback_service.registry.refusal import NotAModelError

MAX_HEADER_BYTES = 100_000_000
"""As the format's own reader has it."""
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True)
class WeightsFile:
    """What a safetensors file says of itself.

    Attributes:
        shapes: Shape of each tensor, by name.
        size_bytes: Size of the file.
    """

    shapes: Mapping[str, tuple[int, ...]]
    size_bytes: int

    @property
    def parameters(self) -> int:
        """Numbers in all tensors; stored buffers count too."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def read_weights_file(path: Path) -> WeightsFile:
    """Reads the header of a safetensors file and checks that the file is as long as the header says.

    Args:
        path: The file.

    Raises:
        NotAModelError: It is missing, not safetensors, or cut short; the message says which.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(8)
            length = struct.unpack("<Q", begin)[0] if len(begin) == 8 else -1
            if begin == b"version ":
                raise NotAModelError(
                    f"{path.name} is a Git LFS pointer, not the weights", hint="Run `git lfs pull` in it."
                )
            if length < 2 or length > MAX_HEADER_BYTES:
                raise NotAModelError(f"{path.name} is not a safetensors file")
            if 8 + length > size:
                raise NotAModelError(f"{path.name} is cut short: it ends inside its header")
            header = file.read(length)
    except OSError as error:
        raise NotAModelError(f"{path.name} cannot be read: {error.strerror or error}") from None
    try:
        form = json.loads(header)
    except (ValueError, RecursionError):
        raise NotAModelError(f"{path.name} is not a safetensors file: its header is not JSON") from None
    if not isinstance(form, dict):
        raise NotAModelError(f"{path.name} is not a safetensors file: its header is no JSON object")
    entries = {name: entry for name, entry in form.items() if name != "__metadata__"}
    if not entries:
        raise NotAModelError(f"{path.name} holds no tensors")
    shapes, end = {}, 0
    for name, entry in entries.items():
        shapes[name], entry_end = _entry(path.name, name, entry)
        end = max(end, entry_end)
    expected = 8 + length + end
    if size != expected:
        state = "is cut short" if size < expected else "is longer than its header says"
        raise NotAModelError(f"{path.name} {state}: {size:,} of {expected:,} bytes")
    return WeightsFile(shapes, size)


def _entry(file: str, name: str, entry: Any) -> tuple[tuple[int, ...], int]:
    """Shape of a tensor, and where it ends after the header."""
    try:
        shape = tuple(int(size) for size in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
        bits = _BITS.get(entry["dtype"])
    except (KeyError, OverflowError, TypeError, ValueError):
        raise NotAModelError(f"{file}: the header's entry for {name!r} is not valid") from None
    # An unknown dtype is a newer format's: its length cannot be checked, and the load decides.
    wrong = bits is not None and (math.prod(shape) * bits + 7) // 8 != end - begin
    if begin < 0 or end < begin or any(size < 0 for size in shape) or wrong:
        raise NotAModelError(f"{file}: the header's entry for {name!r} does not fit its shape")
    return shape, end
