"""Training rows in memory: masks deflated row by row, everything else as plain arrays.

A row's masks are 25,344 bytes packed and about 600 deflated, so that a million rows fit into a laptop. Inflating
and unpacking a row takes 0.15 ms, a tenth of training on it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_server.train.classes import balanced_weights, signalled
from agent_server.train.returns import discounted_returns
from codriver.codecs import bit_planes
from codriver.dataset import Dataset, DatasetError, Manifest, Shard
from codriver.v1 import action_pb2, observation_pb2, tensor_pb2

MASKS, STATE = "bev_masks", "state"
_COLUMNS = (MASKS, STATE, "expert_action", "reward", "step_kind", "forward_speed_mps")


class _Part(NamedTuple):
    """Labelled rows of a shard."""

    state: NDArray[np.float32]
    label: NDArray[np.float32]
    value: NDArray[np.float32]
    speed: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    dataset: NDArray[np.int64]


@dataclass
class Rows:
    """Labelled rows of all datasets.

    Attributes:
        observation_spec: Spec of the datasets, without optional tensors: masks, then state.
        action_spec: Their actions.
        masks: N deflated rows of packed masks.
        state: (N, S) float32.
        label: (N, 2) float32 expert action.
        value: (N,) float32 discounted return.
        speed: (N,) float32 forward speed in m/s.
        held_out: (N,) bool, True for rows of validation episodes.
        dataset: (N,) int64 index of the dataset that a row comes from.
        weight: (N,) float64 sampling weight, 0 for held-out rows.
        episodes: Number of episodes.
    """

    observation_spec: observation_pb2.ObservationSpec
    action_spec: action_pb2.ActionSpec
    masks: list[bytes]
    state: NDArray[np.float32]
    label: NDArray[np.float32]
    value: NDArray[np.float32]
    speed: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    dataset: NDArray[np.int64]
    weight: NDArray[np.float64]
    episodes: int

    def __len__(self) -> int:
        return len(self.label)

    def unpack(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Masks (B, C, H, W) uint8 levels of some rows."""
        packed = b"".join(zlib.decompress(self.masks[row]) for row in index.tolist())
        tensor = self.observation_spec.tensors[0]
        palettes = [palette.levels for palette in tensor.palettes]
        rows = np.frombuffer(packed, np.uint8).reshape(len(index), -1)
        return bit_planes.unpack(rows, palettes, tensor.shape[1], tensor.shape[2], MASKS)


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
    spec = _policy_inputs(first, directories[0])
    masks: list[bytes] = []
    parts: list[_Part] = []
    episodes = 0
    for number, directory in enumerate(directories):
        data = Dataset(directory)
        if data.manifest.spec_hash != first.spec_hash:
            raise DatasetError(
                f"{directory} has another spec than {directories[0]}; they cannot be trained on together"
            )
        before = len(masks)
        parts.extend(_labelled(shard, number, validation_share, masks) for shard in data.shards(_COLUMNS))
        count = len(data.manifest.episode_ids())
        note(
            f"{directory}: {count} episodes, {len(masks) - before} labelled rows, weight {weights[number]:g}"
        )
        episodes += count
    if not masks or all(part.held_out.all() for part in parts):
        raise DatasetError(f"{directories[0]}: no labelled rows to train on", hint="Collect more episodes")
    whole = _Part(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    balanced = balanced_weights(whole.label, whole.speed, signalled(whole.state), balance)
    weight = np.where(whole.held_out, 0.0, np.asarray(weights)[whole.dataset] * balanced)
    return Rows(spec, first.action_spec, masks, *whole, weight, episodes)


def _policy_inputs(manifest: Manifest, directory: Path) -> observation_pb2.ObservationSpec:
    """The dataset's required tensors, which must be packed masks and a state vector."""
    spec = observation_pb2.ObservationSpec()
    spec.tensors.extend(tensor for tensor in manifest.observation_spec.tensors if not tensor.optional)
    planes = bool(spec.tensors) and spec.tensors[0].encoding == tensor_pb2.ENCODING_BIT_PLANES
    if [tensor.name for tensor in spec.tensors] != [MASKS, STATE] or not planes:
        names = ", ".join(tensor.name for tensor in spec.tensors)
        raise DatasetError(f"{directory} records {names}; cloning needs {MASKS} as bit-planes and {STATE}")
    return spec


def _labelled(shard: Shard, dataset: int, validation_share: float, masks: list[bytes]) -> _Part:
    """Takes the labelled rows of a shard; their masks are appended to `masks`."""
    columns, entries = shard.columns, shard.entry.episodes
    lengths = [entry.rows for entry in entries]
    episode = np.repeat(np.arange(len(entries)), lengths)
    held = np.repeat([is_held_out(entry.id, validation_share) for entry in entries], lengths)
    value = discounted_returns(columns["reward"], columns["step_kind"], episode)
    keep = np.flatnonzero(np.isfinite(columns["expert_action"]).all(axis=1))
    masks.extend(zlib.compress(row, 1) for row in columns[MASKS][keep])
    return _Part(
        columns[STATE][keep],
        columns["expert_action"][keep],
        value[keep],
        columns["forward_speed_mps"][keep],
        held[keep],
        np.full(len(keep), dataset),
    )
