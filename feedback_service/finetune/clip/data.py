"""Labelled pictures in memory: PNG files as recorded, each with its context and the anchor of the expert's action.

A picture is about 1.5 kB as a PNG file and 36,864 bytes as palette entries, and decoding takes 0.1 to 0.2 ms where a
training step takes some milliseconds a picture; so the files themselves are kept, and nothing is unpacked on disk.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codriver.coaching import vocabulary
from codriver.dataset import Dataset, DatasetError, Shard
from codriver.driving import to_control

COLUMNS = (
    "expert_action",
    "command",
    "forward_speed_mps",
    "picture.data",
    "picture.offsets",
)


@dataclass
class Pictures:
    """N labelled pictures.

    Attributes:
        png: The PNG files.
        context: (N,) int64, 0 to 23.
        anchor: (N,) int64 label, 0 to 29.
        held_out: (N,) bool, True in episodes that are kept from training.
        episodes: Number of episodes.
    """

    png: list[bytes]
    context: NDArray[np.int64]
    anchor: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    episodes: int

    def __len__(self) -> int:
        return len(self.png)

    def take(self, rows: NDArray[np.int64]) -> Pictures:
        """Some of them."""
        return Pictures(
            [self.png[row] for row in rows.tolist()],
            self.context[rows],
            self.anchor[rows],
            self.held_out[rows],
            self.episodes,
        )


def labels(
    action: NDArray[np.float32], command: NDArray[np.uint8], speed: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Contexts and anchors of dataset rows: (N, 2) actions, (N,) commands, (N,) speeds in m/s to two (N,) int64."""
    context = vocabulary.context_index(vocabulary.command_index(command), vocabulary.speed_index(speed))
    return np.asarray(context, np.int64), vocabulary.anchor_index(to_control(action))


def load_pictures(
    directories: Sequence[Path],
    *,
    held_out_share: float = 0.0,
    every: int = 1,
    note: Callable[[str], None] = lambda line: None,
) -> Pictures:
    """Loads the labelled rows with pictures of datasets.

    Args:
        directories: The datasets.
        held_out_share: Share of the episodes that is marked as held out; an episode's id decides.
        every: Keep every n-th row only (rows are 0.1 s apart and much alike).
        note: Told one line a dataset.

    Raises:
        DatasetError: A dataset is not usable, or there is no labelled picture.
    """
    png: list[bytes] = []
    columns: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]] = []
    episodes = 0
    for directory in directories:
        data, before = Dataset(directory), len(png)
        for shard in data.shards(COLUMNS):
            context, anchor = labels(
                shard.columns["expert_action"], shard.columns["command"], shard.columns["forward_speed_mps"]
            )
            rows = usable_rows(shard)[::every]
            held = np.repeat(
                [is_held_out(entry.id, held_out_share) for entry in shard.entry.episodes],
                [entry.rows for entry in shard.entry.episodes],
            )
            png.extend(shard.picture(row) or b"" for row in rows.tolist())
            columns.append((context[rows], anchor[rows], held[rows]))
        count = len(data.manifest.episode_ids())
        episodes += count
        note(f"{directory}: {count} episodes, {len(png) - before} labelled pictures")
    if not png:
        raise DatasetError(
            f"{directories[0]}: no labelled pictures", hint="Collect them with: codriver collect"
        )
    context, anchor, held = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Pictures(png, context, anchor, held, episodes)


def usable_rows(shard: Shard) -> NDArray[np.int64]:
    """Rows that have a label and a picture."""
    labelled = np.isfinite(shard.columns["expert_action"]).all(axis=1)
    if "picture.offsets" not in shard.columns:
        return np.zeros(0, np.int64)
    return np.flatnonzero(labelled & (np.diff(shard.columns["picture.offsets"]) > 0))


def is_held_out(episode_id: str, share: float) -> bool:
    """Whether an episode is held out: decided by its id alone, so that it never changes sides."""
    return zlib.crc32(episode_id.encode()) < share * 2**32


def balanced(context: NDArray[np.int64], anchor: NDArray[np.int64], exponent: float) -> NDArray[np.float64]:
    """Sampling weights that draw rare labels more often.

    Args:
        context: (N,) contexts.
        anchor: (N,) labels.
        exponent: 0: rows as they come; 1: every label of a context as often as any other one.

    Returns:
        (N,) float64, mean 1: (count of the label in its context) ** -exponent. A label counts as one of 20 rows at
        least, so that single odd rows are not drawn for ever.
    """
    cell = context * vocabulary.ANCHORS + anchor
    count = np.maximum(np.bincount(cell, minlength=vocabulary.CONTEXTS * vocabulary.ANCHORS), 20)
    total = np.bincount(context, minlength=vocabulary.CONTEXTS)
    weight = (count[cell] / total[context]) ** -exponent
    return np.asarray(weight / weight.mean(), np.float64)


_RIGHT_LEFT_COMMAND = np.array([1, 0, 2, 3, 5, 4])
_RIGHT_LEFT_LATERAL = np.array([0, 3, 4, 1, 2])


def mirrored(
    context: NDArray[np.int64], anchor: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Contexts and anchors of the pictures' mirror images: left and right change places."""
    command, speed = np.divmod(context, len(vocabulary.SPEEDS))
    longitudinal, lateral = np.divmod(anchor, len(vocabulary.LATERAL))
    return (
        _RIGHT_LEFT_COMMAND[command] * len(vocabulary.SPEEDS) + speed,
        longitudinal * len(vocabulary.LATERAL) + _RIGHT_LEFT_LATERAL[lateral],
    )
