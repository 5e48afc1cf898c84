"""Training rows in memory: packed masks as recorded, everything else as plain arrays."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent_server.train.classes import balanced_weights
from agent_server.train.returns import discounted_returns
from codriver.codecs import bit_planes
from codriver.dataset import Dataset, DatasetError
from codriver.v1 import action_pb2, observation_pb2

MASKS, STATE = "bev_masks", "state"
_COLUMNS = (MASKS, STATE, "expert_action", "reward", "step_kind", "forward_speed_mps")


@dataclass
class Rows:
    """Labelled rows of all datasets; masks stay packed, 25,344 bytes a row (100,000 rows: 2.5 GB of memory).

    Attributes:
        observation_spec: Spec of the datasets, without optional tensors.
        action_spec: Their actions.
        masks: Per dataset (N_d, nbytes) packed masks, unlabelled rows included.
        source: (N, 2) dataset and row in it of each labelled row.
        state: (N, S) float32.
        label: (N, 2) float32 expert action.
        value: (N,) float32 discounted return.
        speed: (N,) float32 forward speed in m/s.
        held_out: (N,) bool, True for rows of validation episodes.
        weight: (N,) float64 sampling weight, 0 for held-out rows.
        episodes: Number of episodes.
    """

    observation_spec: observation_pb2.ObservationSpec
    action_spec: action_pb2.ActionSpec
    masks: list[NDArray[np.uint8]]
    source: NDArray[np.int64]
    state: NDArray[np.float32]
    label: NDArray[np.float32]
    value: NDArray[np.float32]
    speed: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    weight: NDArray[np.float64]
    episodes: int

    def __len__(self) -> int:
        return len(self.label)

    def unpack(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Masks (B, C, H, W) uint8 levels of some rows."""
        tensor = self.observation_spec.tensors[0]
        packed = np.empty((len(index), self.masks[0].shape[1]), np.uint8)
        dataset, row = self.source[index].T
        for number, masks in enumerate(self.masks):
            mine = np.flatnonzero(dataset == number)
            packed[mine] = masks[row[mine]]
        palettes = [palette.levels for palette in tensor.palettes]
        return bit_planes.unpack(packed, palettes, tensor.shape[1], tensor.shape[2], MASKS)


def is_held_out(episode_id: str, share: float) -> bool:
    """Whether an episode is for validation: decided by its id alone, so that it never changes sides."""
    return zlib.crc32(episode_id.encode()) < share * 2**32


def load_rows(
    directories: Sequence[Path],
    weights: Sequence[float],
    validation_share: float,
    balance: float,
    note: Callable[[str], None] = lambda line: None,
) -> Rows:
    """Loads datasets of one spec.

    Args:
        directories: The datasets.
        weights: Sampling weight of each one's rows (DAgger: more than 1 for later rounds).
        validation_share: Share of the episodes that is held out.
        balance: Exponent of :func:`agent_server.train.classes.balanced_weights`.
        note: Told one line a dataset.

    Raises:
        DatasetError: A dataset is not usable, the specs differ, or nothing is labelled.
    """
    first = Dataset(directories[0]).manifest
    masks, parts, episodes = [], [], 0
    for number, directory in enumerate(directories):
        data = Dataset(directory)
        if data.manifest.spec_hash != first.spec_hash:
            raise DatasetError(
                f"{directory} has another spec than {directories[0]}; they cannot be trained on together"
            )
        table = data.load(_COLUMNS)
        ids = data.manifest.episode_ids()
        held = np.array([is_held_out(name, validation_share) for name in ids], bool)[table["episode"]]
        value = discounted_returns(table["reward"], table["step_kind"], table["episode"])
        labelled = np.flatnonzero(np.isfinite(table["expert_action"]).all(axis=1))
        note(f"{directory}: {len(ids)} episodes, {len(labelled)} labelled rows, weight {weights[number]:g}")
        masks.append(table[MASKS])
        parts.append(
            (
                np.stack([np.full(len(labelled), number), labelled], axis=1),
                table[STATE][labelled],
                table["expert_action"][labelled],
                value[labelled],
                table["forward_speed_mps"][labelled],
                held[labelled],
                np.full(len(labelled), weights[number]),
            )
        )
        episodes += len(ids)
    source, state, label, value, speed, held, weight = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    if not len(label) or held.all():
        raise DatasetError(f"{directories[0]}: no labelled rows to train on", hint="Collect more episodes")
    weight = np.where(held, 0.0, weight * balanced_weights(label, speed, balance))
    spec = observation_pb2.ObservationSpec()
    spec.tensors.extend(tensor for tensor in first.observation_spec.tensors if not tensor.optional)
    return Rows(spec, first.action_spec, masks, source, state, label, value, speed, held, weight, episodes)
