"""Rows of recorded drives that a coach learns from: a picture, what the prompt says, and what the expert did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import lateral_index, longitudinal_index
from codriver.dataset import Dataset, DatasetError
from codriver.driving import to_control
from codriver.v1 import observation_pb2
from feedback_service.coaches.prompt import vlm_prompt

_COLUMNS = ("expert_action", "command", "forward_speed_mps", "target_m")


@dataclass(frozen=True)
class DriveRows:
    """N rows with a picture and a label.

    Attributes:
        control: (N, 3) float32 throttle, steer, brake of the expert.
        command: (N,) uint8 ``codriver.v1.RouteCommand``.
        forward_speed_mps: (N,) float32.
        target_m: (N, 2) float32 next route target, x forward, y left.
        png: Bytes of all PNG files, one after the other, uint8.
        spans: (N, 2) int64: where each row's PNG file begins and ends.
    """

    control: NDArray[np.float32]
    command: NDArray[np.uint8]
    forward_speed_mps: NDArray[np.float32]
    target_m: NDArray[np.float32]
    png: NDArray[np.uint8]
    spans: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.control)

    @property
    def longitudinal(self) -> NDArray[np.int64]:
        """(N,) index into ``LONGITUDINAL``."""
        return longitudinal_index(self.control)

    @property
    def lateral(self) -> NDArray[np.int64]:
        """(N,) index into ``LATERAL``."""
        return lateral_index(self.control)

    def picture(self, row: int) -> bytes:
        """The PNG file of a row."""
        start, stop = self.spans[row]
        return self.png[start:stop].tobytes()

    def prompt(self, row: int) -> str:
        """The prompt of a row."""
        return vlm_prompt(
            observation_pb2.FeedbackContext(
                command=int(self.command[row]),  # type: ignore[arg-type]
                forward_speed_mps=float(self.forward_speed_mps[row]),
                target_x_m=float(self.target_m[row, 0]),
                target_y_m=float(self.target_m[row, 1]),
            )
        )

    def take(self, rows: NDArray[np.int64]) -> DriveRows:
        """Some of the rows; the PNG files are shared."""
        return DriveRows(
            self.control[rows],
            self.command[rows],
            self.forward_speed_mps[rows],
            self.target_m[rows],
            self.png,
            self.spans[rows],
        )


def load_rows(directories: Sequence[Path]) -> DriveRows:
    """Reads every row that has a picture and the expert's action.

    Takes about 1.4 KB of memory a row: pictures stay PNG files.

    Raises:
        DatasetError: A dataset is missing or damaged, or there is no such row.
    """
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in (*_COLUMNS, "png", "spans")}
    begin = 0
    for directory in directories:
        for shard in Dataset(directory).shards([*_COLUMNS, "picture.data", "picture.offsets"]):
            if "picture.offsets" not in shard.columns:
                continue
            offsets = shard.columns["picture.offsets"].astype(np.int64)
            spans = np.column_stack([offsets[:-1], offsets[1:]])
            good = np.isfinite(shard.columns["expert_action"]).all(axis=1) & (spans[:, 1] > spans[:, 0])
            for name in _COLUMNS:
                parts[name].append(shard.columns[name][good])
            parts["png"].append(shard.columns["picture.data"])
            parts["spans"].append(spans[good] + begin)
            begin += len(shard.columns["picture.data"])
    if not sum(map(len, parts["spans"])):
        names = ", ".join(map(str, directories))
        raise DatasetError(
            f"no row of {names} has both a picture and the expert's action",
            hint="Record pictures with: codriver collect",
        )
    whole = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return DriveRows(
        to_control(whole["expert_action"]),
        whole["command"],
        whole["forward_speed_mps"],
        whole["target_m"],
        whole["png"],
        whole["spans"],
    )
