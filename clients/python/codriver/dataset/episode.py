"""One episode as columns, and the check that it can be stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from codriver.codecs import bit_planes
from codriver.dataset.errors import DatasetError
from codriver.v1 import action_pb2, observation_pb2, tensor_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ID_LENGTH = 200
_DTYPES: Dict[int, np.dtype[Any]] = {
    tensor_pb2.DTYPE_UINT8: np.dtype("u1"),
    tensor_pb2.DTYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DTYPE_INT32: np.dtype("<i4"),
    tensor_pb2.DTYPE_INT64: np.dtype("<i8"),
}


@dataclass
class EpisodeData:
    """One episode of T rows; see :mod:`codriver.dataset` for what a row is.

    Attributes:
        id: Unique in the dataset, 1 to 200 characters; collectors skip ids that are stored already.
        tensors: One array for each tensor of the observation spec that is not optional: packed rows (T, nbytes)
            uint8 for ``ENCODING_BIT_PLANES`` (levels (T, C, H, W) are packed here), else (T, *shape).
        expert_action: (T, A) float32 label of the expert; NaN rows have none.
        applied_action: (T, A) float32 action applied at each row; 0 in the last one.
        reward: (T,) float32 of the step out of each row; 0 in the last one.
        step_kind: (T,) ``codriver.v1.StepKind``: FIRST, then MID, the last one TERMINATED or TRUNCATED.
        command: (T,) ``codriver.v1.RouteCommand`` in force.
        forward_speed_mps: (T,) signed speed.
        target_m: (T, 2) next route target in the ego frame, x forward, y left.
        expert_action_speed_bin: (T, A) float32 what the expert would do if it knew the speed only as its bin of
            ``codriver.coaching.vocabulary``; NaN rows have none. None: not stored.
        pictures: T PNG files, None where a row has none. None: no pictures at all.
        info: Facts of the episode (seeds, end reason, metrics), JSON values.
    """

    id: str
    tensors: Mapping[str, NDArray[Any]]
    expert_action: NDArray[Any]
    applied_action: NDArray[Any]
    reward: NDArray[Any]
    step_kind: NDArray[Any]
    command: NDArray[Any]
    forward_speed_mps: NDArray[Any]
    target_m: NDArray[Any]
    pictures: Optional[Sequence[Optional[bytes]]] = None
    info: Mapping[str, Any] = field(default_factory=dict)
    expert_action_speed_bin: Optional[NDArray[Any]] = None

    def __len__(self) -> int:
        return len(self.reward)


def column_shapes(actions: int) -> Dict[str, Tuple[np.dtype[Any], Tuple[int, ...]]]:
    """Element type and shape of one row of each column that every dataset has, by name."""
    f4, u1 = np.dtype("<f4"), np.dtype("u1")
    return {
        "expert_action": (f4, (actions,)),
        "applied_action": (f4, (actions,)),
        "reward": (f4, ()),
        "step_kind": (u1, ()),
        "command": (u1, ()),
        "forward_speed_mps": (f4, ()),
        "target_m": (f4, (2,)),
    }


def optional_column_shapes(actions: int) -> Dict[str, Tuple[np.dtype[Any], Tuple[int, ...]]]:
    """The same of each column that a shard may lack; its rows are then NaN."""
    return {"expert_action_speed_bin": (np.dtype("<f4"), (actions,))}


def tensor_shape(tensor: tensor_pb2.TensorSpec) -> Tuple[np.dtype[Any], Tuple[int, ...]]:
    """Element type and shape of one stored row of a tensor."""
    if tensor.encoding == tensor_pb2.ENCODING_BIT_PLANES:
        palettes = [palette.levels for palette in tensor.palettes]
        return np.dtype("u1"), (bit_planes.row_nbytes(palettes, tensor.shape[1], tensor.shape[2]),)
    return _DTYPES[tensor.dtype], tuple(tensor.shape)


def to_columns(
    episode: EpisodeData, observation: observation_pb2.ObservationSpec, action: action_pb2.ActionSpec
) -> Dict[str, NDArray[Any]]:
    """Checks an episode and casts it to the columns that are stored.

    Raises:
        DatasetError: The episode does not fit the specs, or holds NaN or infinity where it must not.
    """
    if not 1 <= len(episode.id) <= MAX_ID_LENGTH:
        raise DatasetError(f"episode id has {len(episode.id)} characters; 1 to {MAX_ID_LENGTH} are allowed")
    try:
        json.dumps(dict(episode.info), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"episode {episode.id}: info is not JSON: {error}") from error
    rows = len(episode)
    columns: Dict[str, NDArray[Any]] = {}
    for name, (dtype, shape) in column_shapes(len(action.names)).items():
        columns[name] = _cast(episode.id, name, getattr(episode, name), dtype, (rows, *shape))
    for name, (dtype, shape) in optional_column_shapes(len(action.names)).items():
        if getattr(episode, name) is not None:
            columns[name] = _cast(episode.id, name, getattr(episode, name), dtype, (rows, *shape))
    for tensor in observation.tensors:
        if tensor.optional:
            continue
        if tensor.name not in episode.tensors:
            raise DatasetError(f"episode {episode.id}: the tensor {tensor.name!r} is missing")
        values = np.asarray(episode.tensors[tensor.name])
        if tensor.encoding == tensor_pb2.ENCODING_BIT_PLANES and values.ndim == 4:
            values = bit_planes.pack(values, [palette.levels for palette in tensor.palettes], tensor.name)
        dtype, shape = tensor_shape(tensor)
        columns[tensor.name] = _cast(episode.id, tensor.name, values, dtype, (rows, *shape))
    if episode.pictures is not None and len(episode.pictures) != rows:
        raise DatasetError(f"episode {episode.id}: {len(episode.pictures)} pictures for {rows} rows")
    _check_kinds(episode.id, columns["step_kind"])
    return columns


def _cast(
    episode: str, name: str, values: NDArray[Any], dtype: np.dtype[Any], shape: Tuple[int, ...]
) -> NDArray[Any]:
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.shape != shape:
        raise DatasetError(f"episode {episode}: {name} has shape {array.shape}, expected {shape}")
    may_be_nan = name in ("expert_action", "expert_action_speed_bin")
    if dtype.kind == "f" and not may_be_nan and not np.isfinite(array).all():
        raise DatasetError(f"episode {episode}: {name} holds NaN or infinity")
    return array


def _check_kinds(episode: str, kinds: NDArray[Any]) -> None:
    last = (observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED)
    good = (
        len(kinds) >= 2
        and kinds[0] == observation_pb2.STEP_KIND_FIRST
        and bool((kinds[1:-1] == observation_pb2.STEP_KIND_MID).all())
        and int(kinds[-1]) in last
    )
    if not good:
        raise DatasetError(
            f"episode {episode}: step kinds are not FIRST, then MID, then TERMINATED or TRUNCATED (two rows or more)"
        )
