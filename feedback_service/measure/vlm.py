"""How well a vision-language model answers: parse rate, recall of every class of driving, errors of the numbers.

Rare classes are looked at more often than they were driven, and each row then counts by how much rarer than that it
was driven: every figure estimates what all rows would give. Needs the models' environment.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import LATERAL, LONGITUDINAL, lateral_index, longitudinal_index
from feedback_service.coaches.parse import Unparseable, parse_action
from feedback_service.finetune.vlm.rows import DriveRows, load_rows
from feedback_service.models.vlm.generator import VlmGenerator

_BATCH = 32
Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


def measure_vlm(
    directory: Path,
    dataset: Path,
    *,
    limit: int | None = None,
    threads: int = 1,
    progress: Progress | None = None,
    constrained: bool = False,
) -> dict[str, Any]:
    """Asks a model about rows of recorded drives and compares its answers with the expert.

    Args:
        directory: Checkpoint directory.
        dataset: Recorded drives with pictures; best ones that the model was not trained on.
        limit: About how many rows to ask about; None: all.
        threads: Of torch.
        progress: Told how far it is.
        constrained: True: with constrained decoding (the parse rate then says nothing).

    Returns:
        ``vlm_parse_rate`` (share of answers that the strict parser reads), ``vlm_longitudinal_recall`` and
        ``vlm_lateral_recall`` (mean over the classes that occur of the share found; an answer that cannot be read
        finds nothing), ``vlm_majority`` (the greater of these two for always answering the commonest class), and
        details.
    """
    rows = load_rows([dataset])
    chosen, weight = choose_rows(rows, limit, np.random.default_rng(0))
    generator = VlmGenerator(directory, threads=threads, constrained=constrained)
    answers = np.full((len(chosen), 3), np.nan, np.float32)
    for start in range(0, len(chosen), _BATCH):
        part = chosen[start : start + _BATCH].tolist()
        texts, errors = generator.answer(
            [rows.picture(row) for row in part], [rows.prompt(row) for row in part]
        )
        for place, (text, error) in enumerate(zip(texts, errors), start):
            control = parse_action(text)
            if not error and not isinstance(control, Unparseable):
                answers[place] = control
        if progress:
            progress(min(start + _BATCH, len(chosen)), len(chosen))
    return {
        "family": generator.family,
        "parameters": generator.parameters,
        **summary(rows.control[chosen], answers, weight),
    }


def choose_rows(
    rows: DriveRows, limit: int | None, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which rows to ask about: a third evenly, a third by longitudinal class, a third by lateral class.

    Returns:
        Rows in order, and how many rows each of them stands for.
    """
    count = len(rows)
    if limit is None or limit >= count:
        return np.arange(count), np.ones(count)
    chance = np.full(count, 1 / count)
    for index in (rows.longitudinal, rows.lateral):
        counts = np.bincount(index)
        chance += 1 / (counts[index] * np.count_nonzero(counts))
    chance = np.minimum(1.0, chance * limit / 3)
    chosen = np.flatnonzero(random.random(count) < chance)
    return chosen, 1 / chance[chosen]


def summary(
    expert: NDArray[np.float32], answers: NDArray[np.float32], weight: NDArray[np.float64]
) -> dict[str, Any]:
    """Figures of answers.

    Args:
        expert: (N, 3) controls of the expert.
        answers: (N, 3) controls of the model, NaN where an answer could not be read.
        weight: (N,) how many rows each one stands for.
    """
    read = np.isfinite(answers).all(axis=1)
    figures: dict[str, Any] = {"samples": len(expert), "vlm_parse_rate": _share(read, weight)}
    majority = []
    for name, words, index in (
        ("longitudinal", LONGITUDINAL, longitudinal_index),
        ("lateral", LATERAL, lateral_index),
    ):
        truth = index(expert)
        said = np.where(read, index(np.nan_to_num(answers)), -1)
        present = np.unique(truth)
        recall = {words[n]: _share(said[truth == n] == n, weight[truth == n]) for n in present}
        shares = np.bincount(truth, weight) / weight.sum()
        figures[f"vlm_{name}_recall"] = float(np.mean(list(recall.values())))
        figures[f"{name}_accuracy"] = _share(said == truth, weight)
        figures[f"{name}_majority_share"] = float(shares.max())
        figures[f"{name}_classes"] = {
            words[n]: {
                "recall": recall[words[n]],
                "samples": int((truth == n).sum()),
                "share": float(shares[n]),
            }
            for n in present
        }
        figures[f"{name}_confusion"] = [
            [float(weight[(truth == n) & (said == m)].sum()) for m in range(len(words))]
            for n in range(len(words))
        ]
        majority.append(1 / len(present))
    figures["vlm_majority"] = max(majority)
    for column, name in enumerate(("throttle", "steer", "brake")):
        error = np.abs(answers[read, column] - expert[read, column])
        figures[f"{name}_mean_error"] = (
            float(np.average(error, weights=weight[read])) if read.any() else float("nan")
        )
    return figures


def _share(right: Any, weight: NDArray[np.float64]) -> float:
    return float(weight[right].sum() / weight.sum())
