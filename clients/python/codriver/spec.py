"""Specs: what is valid, what two sides must agree on, and the hash that says so in 64 digits.

Canonical form (docs/protocol.md, "Spec hash"): the UTF-8 bytes of one JSON object without spaces, keys sorted::

    {"action":{"high":["3f800000",...],"low":["bf800000",...],"names":["acceleration",...]},
     "tensors":[{"channel_names":["road",...],"dtype":"uint8","encoding":"bit_planes","name":"bev_masks",
                 "palettes":["0078ff",...],"shape":[15,96,96]},...],
     "version":1}

Tensors stand in wire order. A float is its IEEE 754 binary32 bits, big-endian, as 8 lower-case hex digits; a
palette is its levels as hex; dtype and encoding are the enum names without prefix, in lower case. Tensors with
``optional`` set are left out: they are never an input of the policy, so that a client may add a picture without
changing what the policy sees. The spec hash is the SHA-256 of those bytes, in lower-case hex.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from typing import Any, Dict, List, Tuple

from codriver.errors import SpecError, Violation
from codriver.v1 import action_pb2, observation_pb2, tensor_pb2

MAX_TENSORS = 64
MAX_EXTENTS = 8
MAX_CHANNELS = 4096
MAX_ROW_BYTES = 64 * 1024 * 1024
MAX_ACTION_DIMENSIONS = 1024
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
# Printable ASCII without the two characters that JSON escapes: the canonical form is then the same in every language.
_LABEL = re.compile(r"[ !#-\[\]-~]{1,128}\Z")
_ITEM_BYTES = {
    tensor_pb2.DTYPE_UINT8: 1,
    tensor_pb2.DTYPE_FLOAT32: 4,
    tensor_pb2.DTYPE_INT32: 4,
    tensor_pb2.DTYPE_INT64: 8,
}


def dtype_name(value: int) -> str:
    """``uint8`` for ``DTYPE_UINT8``; ``dtype 99`` for a value that is not known."""
    return _enum_name(tensor_pb2.Dtype, value, "DTYPE_", "dtype")


def encoding_name(value: int) -> str:
    """``bit_planes`` for ``ENCODING_BIT_PLANES``; ``encoding 99`` for a value that is not known."""
    return _enum_name(tensor_pb2.Encoding, value, "ENCODING_", "encoding")


def canonical_json(observation: observation_pb2.ObservationSpec, action: action_pb2.ActionSpec) -> str:
    """The canonical form of a valid spec, as above."""
    form = {
        "version": 1,
        "tensors": [_tensor_form(tensor) for tensor in observation.tensors if not tensor.optional],
        "action": {
            "names": list(action.names),
            "low": [_float_bits(value) for value in action.low],
            "high": [_float_bits(value) for value in action.high],
        },
    }
    return json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def spec_hash(observation: observation_pb2.ObservationSpec, action: action_pb2.ActionSpec) -> str:
    """SHA-256 of the canonical form, 64 hex digits. Optional tensors do not count."""
    return hashlib.sha256(canonical_json(observation, action).encode("utf-8")).hexdigest()


def check_observation_spec(spec: observation_pb2.ObservationSpec, path: str = "observation_spec") -> None:
    """Checks that a spec is valid in itself.

    Args:
        spec: The spec.
        path: Where it stands in its request, for the error.

    Raises:
        SpecError: With one violation for each field at fault.
    """
    found: List[Violation] = []
    if not spec.tensors:
        found.append(Violation(f"{path}.tensors", "has no tensor; at least one is needed"))
    if len(spec.tensors) > MAX_TENSORS:
        found.append(
            Violation(
                f"{path}.tensors", f"has {len(spec.tensors)} tensors; at most {MAX_TENSORS} are allowed"
            )
        )
    seen: Dict[str, int] = {}
    for index, tensor in enumerate(spec.tensors[:MAX_TENSORS]):
        where = f"{path}.tensors[{index}]"
        if tensor.name in seen:
            found.append(
                Violation(
                    f"{where}.name", f"{tensor.name!r} is the name of tensors[{seen[tensor.name]}] already"
                )
            )
        seen.setdefault(tensor.name, index)
        found.extend(_tensor_violations(tensor, where))
    if spec.tensors and all(tensor.optional for tensor in spec.tensors):
        found.append(
            Violation(f"{path}.tensors", "are all optional; the policy needs at least one that is not")
        )
    _refuse(found)


def check_action_spec(spec: action_pb2.ActionSpec, path: str = "action_spec") -> None:
    """Checks that an action spec is valid in itself.

    Raises:
        SpecError: With one violation for each field at fault.
    """
    found: List[Violation] = []
    count = len(spec.names)
    if not 1 <= count <= MAX_ACTION_DIMENSIONS:
        found.append(
            Violation(f"{path}.names", f"has {count} entries; 1 to {MAX_ACTION_DIMENSIONS} are allowed")
        )
    for field, values in (("low", spec.low), ("high", spec.high)):
        if len(values) != count:
            found.append(
                Violation(
                    f"{path}.{field}", f"has {len(values)} values for {count} names; they must be as many"
                )
            )
    for index, name in enumerate(spec.names[:MAX_ACTION_DIMENSIONS]):
        if not _NAME.match(name):
            found.append(
                Violation(f"{path}.names[{index}]", f"{name!r} is not lower_snake_case of 1 to 64 characters")
            )
        elif name in list(spec.names[:index]):
            found.append(Violation(f"{path}.names[{index}]", f"{name!r} stands there twice"))
    for index, (low, high) in enumerate(zip(spec.low, spec.high)):
        if not (math.isfinite(low) and math.isfinite(high)):
            found.append(Violation(f"{path}.low[{index}]", f"limits {low} and {high} are not both finite"))
        elif not low < high:
            found.append(Violation(f"{path}.low[{index}]", f"{low:g} is not below high[{index}], {high:g}"))
    _refuse(found)


def compare_specs(
    observation: observation_pb2.ObservationSpec,
    action: action_pb2.ActionSpec,
    expected_observation: observation_pb2.ObservationSpec,
    expected_action: action_pb2.ActionSpec,
) -> List[Violation]:
    """Every difference between a client's spec and the one that a policy expects, field by field, in words.

    Returns:
        Violations with paths into ``OpenSessionRequest``; empty exactly when the spec hashes are equal.
    """
    found: List[Violation] = []
    got = [(index, tensor) for index, tensor in enumerate(observation.tensors) if not tensor.optional]
    want = [tensor for tensor in expected_observation.tensors if not tensor.optional]
    names, wanted = [tensor.name for _, tensor in got], [tensor.name for tensor in want]
    where = "observation_spec.tensors"
    lacking = [name for name in wanted if name not in names]
    found.extend(Violation(where, f"lacks the tensor {name!r} that the policy reads") for name in lacking)
    by_name = {tensor.name: tensor for tensor in want}
    for index, tensor in got:
        if tensor.name in by_name:
            found.extend(_tensor_differences(tensor, by_name[tensor.name], f"{where}[{index}]"))
        else:
            found.append(
                Violation(
                    f"{where}[{index}].name",
                    f"{tensor.name!r} is no input of the policy; leave it out or make it optional",
                )
            )
    if not found and names != wanted:
        found.append(
            Violation(where, f"are in the order {', '.join(names)}; the policy expects {', '.join(wanted)}")
        )
    for field in ("names", "low", "high"):
        a, b = list(getattr(action, field)), list(getattr(expected_action, field))
        if json.dumps(a) != json.dumps(b):  # by text, as -0.0 and 0.0 have different hashes
            found.append(Violation(f"action_spec.{field}", f"is {a}; the policy expects {b}"))
    return found


def _tensor_violations(tensor: tensor_pb2.TensorSpec, where: str) -> List[Violation]:
    found: List[Violation] = []

    def wrong(field: str, why: str) -> None:
        found.append(Violation(f"{where}.{field}", why))

    if not _NAME.match(tensor.name):
        wrong("name", f"{tensor.name!r} is not lower_snake_case of 1 to 64 characters")
    extents, shape = len(tensor.shape), list(tensor.shape[:MAX_EXTENTS])
    item = _ITEM_BYTES.get(tensor.dtype)
    if item is None:
        wrong("dtype", f"{dtype_name(tensor.dtype)} is not a known element type")
    if extents > MAX_EXTENTS:
        wrong("shape", f"has {extents} extents; at most {MAX_EXTENTS} are allowed")
    elif any(extent < 1 for extent in shape):
        wrong("shape", f"{shape} has an extent of 0; each must be 1 or more")
    elif math.prod(shape) * (item or 1) > MAX_ROW_BYTES:
        wrong("shape", f"{shape} is more than {MAX_ROW_BYTES} bytes a row")
    count, channels = len(tensor.channel_names), shape[0] if shape else 0
    if max(count, len(tensor.palettes)) > MAX_CHANNELS:
        wrong("channel_names" if count > MAX_CHANNELS else "palettes", f"are more than {MAX_CHANNELS}")
        return found
    if count and count != channels:
        wrong("channel_names", f"has {count} names for a first extent of {channels}")
    for index, label in enumerate(tensor.channel_names):
        if not _LABEL.match(label):
            wrong(f"channel_names[{index}]", 'is not 1 to 128 printable ASCII characters without " and \\')
    found.extend(_encoding_violations(tensor, where, shape))
    return found


def _encoding_violations(tensor: tensor_pb2.TensorSpec, where: str, shape: List[int]) -> List[Violation]:
    found: List[Violation] = []

    def wrong(field: str, why: str) -> None:
        found.append(Violation(f"{where}.{field}", why))

    planes = tensor.encoding == tensor_pb2.ENCODING_BIT_PLANES
    png = tensor.encoding == tensor_pb2.ENCODING_PNG
    if not planes and not png and tensor.encoding != tensor_pb2.ENCODING_RAW:
        wrong("encoding", f"{encoding_name(tensor.encoding)} is not a known encoding")
    if (planes or png) and tensor.dtype != tensor_pb2.DTYPE_UINT8:
        wrong("dtype", f"is {dtype_name(tensor.dtype)}; this encoding needs uint8")
    if png and not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
        wrong("shape", f"{shape} is not (height, width) or (height, width, 3)")
    if not planes:
        if tensor.palettes:
            wrong("palettes", "are only for ENCODING_BIT_PLANES")
        return found
    if len(shape) != 3:
        wrong("shape", f"{shape} is not (channels, height, width)")
    elif len(tensor.palettes) != shape[0]:
        wrong("palettes", f"has {len(tensor.palettes)} palettes for {shape[0]} channels")
    for index, palette in enumerate(tensor.palettes):
        levels = palette.levels
        if not 2 <= len(levels) <= 256:
            wrong(f"palettes[{index}]", f"has {len(levels)} levels; 2 to 256 are allowed")
        elif len(set(levels)) != len(levels):
            wrong(f"palettes[{index}]", f"{list(levels)} holds a level twice")
    return found


def _tensor_differences(
    got: tensor_pb2.TensorSpec, want: tensor_pb2.TensorSpec, where: str
) -> List[Violation]:
    found: List[Violation] = []
    pairs: List[Tuple[str, Any, Any]] = [
        ("dtype", dtype_name(got.dtype), dtype_name(want.dtype)),
        ("shape", list(got.shape), list(want.shape)),
        ("encoding", encoding_name(got.encoding), encoding_name(want.encoding)),
    ]
    for field, a, b in pairs:
        if a != b:
            found.append(Violation(f"{where}.{field}", f"is {a}; the policy expects {b}"))
    lists: List[Tuple[str, List[Any], List[Any]]] = [
        ("channel_names", list(got.channel_names), list(want.channel_names)),
        ("palettes", [list(p.levels) for p in got.palettes], [list(p.levels) for p in want.palettes]),
    ]
    for field, a, b in lists:
        if len(a) != len(b):
            found.append(Violation(f"{where}.{field}", f"has {len(a)} entries; the policy expects {len(b)}"))
            continue
        for index, (x, y) in enumerate(zip(a, b)):
            if x != y:
                found.append(Violation(f"{where}.{field}[{index}]", f"is {x}; the policy expects {y}"))
    return found


def _refuse(found: List[Violation]) -> None:
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SpecError(f"{found[0].field} {found[0].description}{more}", violations=found)


def _tensor_form(tensor: tensor_pb2.TensorSpec) -> Dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": dtype_name(tensor.dtype),
        "shape": list(tensor.shape),
        "encoding": encoding_name(tensor.encoding),
        "channel_names": list(tensor.channel_names),
        "palettes": [palette.levels.hex() for palette in tensor.palettes],
    }


def _float_bits(value: float) -> str:
    return struct.pack(">f", value).hex()


def _enum_name(enum: Any, value: int, prefix: str, kind: str) -> str:
    try:
        return str(enum.Name(value))[len(prefix) :].lower()
    except ValueError:
        return f"{kind} {value}"
