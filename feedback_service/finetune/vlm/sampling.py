"""Which rows a batch is made of: rare ways of driving come more often than they were driven."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import LATERAL, LONGITUDINAL
from feedback_service.finetune.vlm.rows import DriveRows


class BalancedSampler:
    """Draws rows with a probability of (rows of its longitudinal class)^-p times (of its lateral class)^-p.

    With p = 1 classes come equally often, and the few rows of the rarest ones so often that they are learned by
    heart; with p = 0 as they were driven. What is left of the imbalance is what ``shares`` says.

    Args:
        rows: The rows to draw from.
        power: p.
        seed: Of the draws.
    """

    def __init__(self, rows: DriveRows, power: float, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._longitudinal, self._lateral = rows.longitudinal, rows.lateral
        weight = np.ones(len(rows))
        for index, classes in ((self._longitudinal, len(LONGITUDINAL)), (self._lateral, len(LATERAL))):
            counts = np.bincount(index, minlength=classes).astype(float)
            weight *= np.maximum(counts, 1)[index] ** -power
        self._cumulative = np.cumsum(weight)
        self._weight = weight / weight.sum()

    def draw(self, count: int) -> NDArray[np.int64]:
        """(count,) int64 rows, with replacement."""
        points = self._random.random(count) * self._cumulative[-1]
        rows = np.searchsorted(self._cumulative, points)
        return np.asarray(np.minimum(rows, len(self._weight) - 1), np.int64)

    def skip(self, count: int) -> None:
        """Goes on as if so many rows had been drawn."""
        self._random.bit_generator.advance(count)  # type: ignore[attr-defined]

    def shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of the longitudinal (6,) and lateral (5,) classes among the rows that are drawn."""
        longitudinal = np.bincount(self._longitudinal, self._weight, len(LONGITUDINAL))
        lateral = np.bincount(self._lateral, self._weight, len(LATERAL))
        return longitudinal.astype(np.float64), lateral.astype(np.float64)
