"""CLIP against the expert on recorded drives. Needs the models' environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import anchor_index
from codriver.dataset import Dataset, DatasetError
from codriver.driving import to_control
from feedback_service.finetune.clip.data import COLUMNS, labels, usable_rows
from feedback_service.measure.clip_figures import (
    agreement,
    confusion,
    context_majority,
    majority,
    recall_by_class,
)
from feedback_service.models.clip.scorer import ClipScorer

ORACLE = "expert_action_speed_bin"
_BATCH = 32
Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


@dataclass
class HeldOut:
    """N rows to measure on.

    Attributes:
        png: PNG files.
        context: (N,) int64.
        anchor: (N,) int64: the expert's action.
        oracle: (N,) int64: what the expert would do if it knew the speed only as its bin; -1 where not recorded.
        episodes: Number of drives.
        provenance: Of the dataset.
    """

    png: list[bytes]
    context: NDArray[np.int64]
    anchor: NDArray[np.int64]
    oracle: NDArray[np.int64]
    episodes: int
    provenance: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.png)


def load_held_out(directory: Path, samples: int = 0) -> HeldOut:
    """Loads rows of recorded drives.

    Args:
        directory: The dataset.
        samples: How many rows, evenly spaced over all; 0: all.

    Raises:
        DatasetError: The dataset is not usable, or has no labelled picture.
    """
    data = Dataset(directory)
    png: list[bytes] = []
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for shard in data.shards((*COLUMNS, ORACLE)):
        columns, rows = shard.columns, usable_rows(shard)
        context, anchor = labels(columns["expert_action"], columns["command"], columns["forward_speed_mps"])
        oracle = np.full(len(anchor), -1, np.int64)
        if ORACLE in columns:
            known = np.isfinite(columns[ORACLE]).all(axis=1)
            oracle[known] = anchor_index(to_control(columns[ORACLE][known]))
        png.extend(shard.picture(row) or b"" for row in rows.tolist())
        parts.append((context[rows], anchor[rows], oracle[rows]))
    if not png:
        raise DatasetError(f"{directory} has no labelled pictures")
    context, anchor, oracle = (np.concatenate(column) for column in zip(*parts, strict=True))
    wanted = min(samples or len(png), len(png))
    keep = np.unique(np.linspace(0, len(png) - 1, wanted).astype(np.int64))
    episodes = len(data.manifest.episode_ids())
    return HeldOut(
        [png[row] for row in keep.tolist()],
        context[keep],
        anchor[keep],
        oracle[keep],
        episodes,
        list(data.manifest.provenance),
    )


def measure_clip(
    directory: Path,
    rows: HeldOut,
    *,
    threads: int = 1,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Asks a CLIP about rows of drives.

    Args:
        directory: A CLIP directory.
        rows: What to ask about.
        threads: Of torch.
        device: auto, cpu or cuda.
        progress: Told how far it is.

    Returns:
        ``clip_top1``, ``clip_top1_neighbours`` and ``clip_left_right_confusion``; the same of the oracle as
        ``clip_oracle_...`` (None where the drives do not hold it); ``clip_majority`` and what the commonest answer of
        each context would get, ``clip_context_majority_...``; ``samples``, and details.
    """
    scorer = ClipScorer(directory, device=device, threads=threads)
    parts, unreadable = [], 0
    for begin in range(0, len(rows), _BATCH):
        part = slice(begin, begin + _BATCH)
        probabilities, errors = scorer.score(rows.png[part], rows.context[part])
        unreadable += sum(map(bool, errors))
        parts.append(probabilities)
        if progress:
            progress(min(begin + _BATCH, len(rows)), len(rows))
    probabilities = np.concatenate(parts)
    answers = probabilities.argmax(axis=1).astype(np.int64)
    known = rows.oracle >= 0
    oracle = agreement(rows.oracle[known], rows.anchor[known]) if known.any() else {}
    words = context_majority(rows.context, rows.anchor)
    chosen = np.maximum(probabilities[np.arange(len(rows)), rows.anchor], 1e-9)
    return {
        **{f"clip_{name}": value for name, value in agreement(answers, rows.anchor).items()},
        **{f"clip_oracle_{name}": oracle.get(name) for name in ("top1", "left_right_confusion")},
        "clip_oracle_neighbours": oracle.get("top1_neighbours"),
        "clip_majority": majority(rows.anchor),
        "clip_context_majority_top1": words["top1"],
        "clip_context_majority_neighbours": words["top1_neighbours"],
        "clip_cross_entropy": float(-np.log(chosen).mean()),
        "clip_unreadable": unreadable,
        "clip_classes": recall_by_class(answers, rows.anchor),
        "clip_confusion": confusion(answers, rows.anchor).tolist(),
        "clip_model": {"name": scorer.name, "version": scorer.version, **scorer.parameters},
        "samples": len(rows),
    }


def trained_on(directory: Path, provenance: list[dict[str, Any]]) -> bool:
    """Whether a model's card names a dataset of the same town and seeds among its training data."""
    try:
        card = json.loads((directory / "card.json").read_text(encoding="utf-8"))
        used = [origin for entry in card["training"]["data"] for origin in entry.get("provenance", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False

    def origin_of(entry: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(entry.get(name) for name in ("simulator", "town", "seed"))

    return any(origin_of(entry) in [origin_of(other) for other in used] for entry in provenance)
