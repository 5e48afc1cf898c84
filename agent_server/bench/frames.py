"""Observations to measure with: recorded ones where there are some, else made up to a policy's spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from codriver.codecs.column import encode_column, numpy_dtype
from codriver.v1 import observation_pb2, tensor_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray


def required(spec: observation_pb2.ObservationSpec) -> list[tensor_pb2.TensorSpec]:
    """The tensors that a policy reads."""
    return [tensor for tensor in spec.tensors if not tensor.optional]


def frames(spec: observation_pb2.ObservationSpec, count: int, data: str = "") -> dict[str, NDArray[Any]]:
    """Observations by tensor name, (count, *shape) each.

    Args:
        spec: What the policy reads.
        count: How many.
        data: Directory of a recorded dataset. Empty: made-up observations, boxes on an empty ground.

    Raises:
        CodriverError: The dataset cannot be read, or holds other tensors.
    """
    return _recorded(spec, count, data) if data else _made_up(spec, count)


def columns(
    spec: observation_pb2.ObservationSpec, rows: dict[str, NDArray[Any]]
) -> list[tensor_pb2.TensorColumn]:
    """Encoded columns of some rows, in the order of the spec."""
    return [encode_column(tensor, rows[tensor.name]) for tensor in required(spec)]


def _made_up(spec: observation_pb2.ObservationSpec, count: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    made: dict[str, NDArray[Any]] = {}
    for tensor in required(spec):
        shape = (count, *tensor.shape)
        if tensor.encoding != tensor_pb2.ENCODING_BIT_PLANES:
            made[tensor.name] = random.uniform(0, 1, shape).astype(numpy_dtype(tensor))
            continue
        masks = np.empty(shape, np.uint8)
        for channel, palette in enumerate(tensor.palettes):
            masks[:, channel] = palette.levels[0]
            for frame in masks[:, channel]:
                height, width = frame.shape
                for level in palette.levels[1:]:
                    y, x = random.integers(0, height), random.integers(0, width)
                    frame[y : y + height // 3, x : x + width // 4] = level
        made[tensor.name] = masks
    return made


def _recorded(spec: observation_pb2.ObservationSpec, count: int, data: str) -> dict[str, NDArray[Any]]:
    from codriver.dataset import Dataset

    dataset = Dataset(data)
    names = [tensor.name for tensor in required(spec)]
    shard = next(iter(dataset.shards(names)))
    picks = np.linspace(0, len(shard) - 1, count).astype(int)
    return {name: shard.tensor(name, picks) for name in names}
