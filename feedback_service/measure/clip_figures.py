"""Figures of a CLIP from its probabilities and the expert's labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import ANCHORS, CONTEXTS, LATERAL, LONGITUDINAL, NEAR

_RIGHT = (LATERAL.index("turning right sharply"), LATERAL.index("turning right"))
_LEFT = (LATERAL.index("turning left sharply"), LATERAL.index("turning left"))


def agreement(predicted: NDArray[np.int64], label: NDArray[np.int64]) -> dict[str, float]:
    """How often anchors are right.

    Args:
        predicted: (N,) anchors.
        label: (N,) anchors of the expert's actions.

    Returns:
        ``top1``; ``top1_neighbours``, where semantic neighbours count as right; ``left_right_confusion``, the share
        of rows of one turning side that are answered with the other; ``longitudinal`` and ``lateral`` accuracy, and
        their mean recall over the classes that occur.
    """
    longitudinal, lateral = np.divmod(label, len(LATERAL))
    longitudinal_predicted, lateral_predicted = np.divmod(predicted, len(LATERAL))
    right, left = np.isin(lateral, _RIGHT), np.isin(lateral, _LEFT)
    confused = (right & np.isin(lateral_predicted, _LEFT)) | (left & np.isin(lateral_predicted, _RIGHT))
    turning = int((right | left).sum())
    return {
        "top1": float((predicted == label).mean()),
        "top1_neighbours": float(NEAR[predicted, label].mean()),
        "left_right_confusion": float(confused.sum() / turning) if turning else 0.0,
        "longitudinal": float((longitudinal_predicted == longitudinal).mean()),
        "lateral": float((lateral_predicted == lateral).mean()),
        "longitudinal_recall": mean_recall(longitudinal_predicted, longitudinal),
        "lateral_recall": mean_recall(lateral_predicted, lateral),
    }


def mean_recall(predicted: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """Mean over the classes that occur of the share that is found."""
    return float(np.mean([(predicted[label == value] == value).mean() for value in np.unique(label)]))


def majority(label: NDArray[np.int64]) -> float:
    """Top-1 of always answering the most frequent anchor."""
    return float(np.bincount(label).max() / len(label))


def context_majority(context: NDArray[np.int64], label: NDArray[np.int64]) -> dict[str, float]:
    """Agreement of always answering the most frequent anchor of each context: what the words alone can tell."""
    counts = np.zeros((CONTEXTS, ANCHORS), np.int64)
    np.add.at(counts, (context, label), 1)
    return agreement(counts.argmax(axis=1)[context], label)


def confusion(predicted: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """(30, 30) counts: row is the label, column the answer."""
    counts = np.zeros((ANCHORS, ANCHORS), np.int64)
    np.add.at(counts, (label, predicted), 1)
    return counts


def recall_by_class(predicted: NDArray[np.int64], label: NDArray[np.int64]) -> dict[str, Any]:
    """Share that is found, and number of rows, of each longitudinal and lateral class that occurs."""
    table: dict[str, Any] = {}
    for part, names in (("longitudinal", LONGITUDINAL), ("lateral", LATERAL)):
        answers, truths = (
            np.divmod(values, len(LATERAL))[part == "lateral"] for values in (predicted, label)
        )
        table[part] = {
            name: {"rows": int((truths == n).sum()), "recall": float((answers[truths == n] == n).mean())}
            for n, name in enumerate(names)
            if (truths == n).any()
        }
    return table
