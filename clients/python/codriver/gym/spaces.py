"""Specs to Gymnasium spaces and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple

import numpy as np
from gymnasium import spaces

from codriver.codecs.column import numpy_dtype
from codriver.errors import InvalidArgumentError, SpecMismatchError, Violation
from codriver.v1 import action_pb2, observation_pb2, tensor_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

SINGLE_TENSOR = "observation"
"""Name of the tensor of an environment whose observation is one array."""
_DTYPES = {"uint8": "UINT8", "float32": "FLOAT32", "float64": "FLOAT32", "int32": "INT32", "int64": "INT64"}


def observation_space_of(spec: observation_pb2.ObservationSpec) -> spaces.Dict:
    """The space of a spec's observations: one box a tensor. Optional tensors are left out."""
    return spaces.Dict({tensor.name: _box(tensor) for tensor in spec.tensors if not tensor.optional})


def action_space_of(spec: action_pb2.ActionSpec) -> spaces.Box:
    """The space of a spec's actions, (A,) float32."""
    return spaces.Box(np.array(spec.low, np.float32), np.array(spec.high, np.float32), dtype=np.float32)


def observation_spec_of(space: spaces.Space[Any]) -> observation_pb2.ObservationSpec:
    """A spec for an environment's observations, every tensor raw; for those who train a policy for it.

    Args:
        space: A box, or a dictionary of boxes with lower_snake_case names. float64 becomes float32.

    Raises:
        InvalidArgumentError: The space is something else.
    """
    spec = observation_pb2.ObservationSpec()
    for name, box in boxes(space).items():
        kind = _DTYPES.get(str(box.dtype))
        if kind is None:
            raise InvalidArgumentError(
                f"{name} is {box.dtype}; {', '.join(_DTYPES)} can be sent", field=f"tensors[{name}]"
            )
        spec.tensors.add(
            name=name,
            dtype=tensor_pb2.Dtype.Value(f"DTYPE_{kind}"),
            shape=box.shape,
            encoding=tensor_pb2.ENCODING_RAW,
        )
    return spec


def boxes(space: spaces.Space[Any]) -> Dict[str, spaces.Box]:
    """The boxes of an observation space by tensor name.

    Raises:
        InvalidArgumentError: It is neither a box nor a dictionary of boxes.
    """
    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {SINGLE_TENSOR: space}
    found: Dict[str, spaces.Box] = {}
    for name, part in parts.items():
        if not isinstance(part, spaces.Box):
            raise InvalidArgumentError(
                f"the observation space {name!r} is {type(part).__name__}; boxes and dictionaries of boxes can be sent",
                hint="Wrap the environment so that its observation is a Box or a Dict of them.",
            )
        found[name] = part
    return found


def check_fit(
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    observation_spec: observation_pb2.ObservationSpec,
    action_spec: action_pb2.ActionSpec,
) -> None:
    """Checks that an environment can be driven by a policy.

    Args:
        observation_space: Space of one observation.
        action_space: Space of one action.
        observation_spec: What the policy reads.
        action_spec: What it answers.

    Raises:
        SpecMismatchError: With every difference.
        InvalidArgumentError: The observation space is of a kind that cannot be sent.
    """
    found: List[Violation] = []
    parts = boxes(observation_space)
    for tensor in observation_spec.tensors:
        if tensor.optional:
            continue
        path = f"observation_space[{tensor.name}]"
        part = parts.get(tensor.name)
        if part is None:
            found.append(Violation(path, f"is missing; the environment has {', '.join(parts)}"))
            continue
        if part.shape != tuple(tensor.shape):
            found.append(Violation(path, f"has shape {part.shape}; the policy reads {tuple(tensor.shape)}"))
        if part.dtype != numpy_dtype(tensor) and (str(part.dtype), numpy_dtype(tensor).name) != (
            "float64",
            "float32",
        ):
            found.append(Violation(path, f"is {part.dtype}; the policy reads {numpy_dtype(tensor).name}"))
    found.extend(_action_violations(action_space, action_spec))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SpecMismatchError(f"{found[0].field} {found[0].description}{more}", violations=found)


def to_tensors(observation: Any, spec: observation_pb2.ObservationSpec) -> Dict[str, NDArray[Any]]:
    """The tensors of a checked environment's observation, single or batched, in the spec's dtypes."""
    parts: Mapping[str, Any] = (
        observation if isinstance(observation, Mapping) else {SINGLE_TENSOR: observation}
    )
    return {
        tensor.name: np.asarray(parts[tensor.name]).astype(numpy_dtype(tensor), copy=False)
        for tensor in spec.tensors
        if not tensor.optional
    }


def _action_violations(space: spaces.Space[Any], spec: action_pb2.ActionSpec) -> List[Violation]:
    if not isinstance(space, spaces.Box) or space.shape != (len(spec.names),):
        return [Violation("action_space", f"is {space}; the policy answers {len(spec.names)} real numbers")]
    policy: Tuple[NDArray[Any], NDArray[Any]] = np.array(spec.low), np.array(spec.high)
    if (policy[0] < space.low - 1e-6).any() or (policy[1] > space.high + 1e-6).any():
        text = f"reaches from {space.low} to {space.high}; the policy answers {policy[0]} to {policy[1]}"
        return [Violation("action_space", text)]
    return []


def _box(tensor: tensor_pb2.TensorSpec) -> spaces.Box:
    dtype = numpy_dtype(tensor)
    low: Any = -np.inf
    high: Any = np.inf
    if dtype.kind != "f":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if tensor.palettes:
        levels = np.frombuffer(b"".join(palette.levels for palette in tensor.palettes), np.uint8)
        # SB3 and others take uint8 boxes from 0 to 255 for pictures
        low, high = 0, 255 if levels.max() > 1 else 1
    return spaces.Box(low, high, tuple(tensor.shape), dtype.type)
