"""What the benchmark shows: recorded rows where there are some, else made-up ones of the same shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codriver.codecs import bit_planes
from codriver.codecs.png import encode
from codriver.dataset import Dataset, DatasetError
from codriver.driving import MASK_CHANNELS, MASK_LEVELS, MASK_SIZE_PX, PICTURE_SIZE_PX, STATE_ITEMS

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frames:
    """Rows ready for the wire.

    Attributes:
        masks: N packed masks, 25,344 bytes each.
        states: N states, 40 bytes each.
        pictures: N PNG files.
        commands: (N,) ``codriver.v1.RouteCommand``.
        speeds_mps: (N,) forward speeds.
        recorded: Whether they were recorded.
    """

    masks: list[bytes]
    states: list[bytes]
    pictures: list[bytes]
    commands: NDArray[np.int64]
    speeds_mps: NDArray[np.float32]
    recorded: bool

    def __len__(self) -> int:
        return len(self.pictures)


def load(data: str, count: int) -> Frames:
    """Rows from a dataset, or made-up ones when ``data`` is empty.

    Raises:
        DatasetError: The dataset cannot be read or has no pictures.
    """
    return _recorded(data, count) if data else _made_up(count)


def _recorded(data: str, count: int) -> Frames:
    shard = next(iter(Dataset(data).shards()))
    picks = np.linspace(0, len(shard) - 1, count).astype(int)
    pictures = [shard.picture(int(row)) for row in picks]
    if any(picture is None for picture in pictures):
        raise DatasetError(f"{data} has no pictures", hint="Collect one without --no-pictures")
    return Frames(
        [shard.columns["bev_masks"][row].tobytes() for row in picks],
        [shard.columns["state"][row].astype("<f4").tobytes() for row in picks],
        [picture for picture in pictures if picture is not None],
        shard.columns["command"][picks].astype(np.int64),
        shard.columns["forward_speed_mps"][picks],
        recorded=True,
    )


def _made_up(count: int) -> Frames:
    """Boxes on a road: about as hard to compress as a drive."""
    random = np.random.default_rng(0)
    masks = np.zeros((count, len(MASK_CHANNELS), MASK_SIZE_PX, MASK_SIZE_PX), np.uint8)
    pictures = np.zeros((count, PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3), np.uint8)
    pictures[:, :, 60:132] = (46, 52, 54)
    for row in range(count):
        for channel, levels in enumerate(MASK_LEVELS):
            y, x = random.integers(0, MASK_SIZE_PX - 20, 2)
            masks[row, channel, y : y + 20, x : x + 12] = levels[-1]
        for _ in range(12):
            y, x = random.integers(0, PICTURE_SIZE_PX - 24, 2)
            pictures[row, y : y + 24, x : x + 10] = random.integers(0, 256, 3)
    packed = bit_planes.pack(masks, [bytes(levels) for levels in MASK_LEVELS])
    states = random.uniform(0, 1, (count, len(STATE_ITEMS))).astype("<f4")
    return Frames(
        [mask.tobytes() for mask in packed],
        [state.tobytes() for state in states],
        [encode(picture) for picture in pictures],
        random.integers(1, 7, count),
        random.uniform(0, 6, count).astype(np.float32),
        recorded=False,
    )
