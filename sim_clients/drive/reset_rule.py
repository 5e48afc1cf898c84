"""Soft or hard: whether the next training episode keeps the traffic of the last (Found-RL, section on training)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DRAW = 0x5EED
"""Keeps the draw apart from everything else that follows from a task's seed."""


@dataclass(frozen=True)
class ResetRule:
    """A soft reset with some probability while the driver is bad, hard ones later.

    A soft reset takes the ego out and in again and keeps the traffic, which is quick; an agent that fails after
    seconds needs no new town each time. The decision follows from the seed and the last return alone, so that a run
    can be repeated.

    Attributes:
        soft_probability: Probability of a soft reset while the last episode's return is below the threshold.
        return_threshold: Return from which on resets are hard. Infinite: soft resets never end.
    """

    soft_probability: float = 0.0
    return_threshold: float = 100.0

    def hard(self, seed: int, last_return: float | None) -> bool:
        """Decides.

        Args:
            seed: Of the task that begins, 0 or more.
            last_return: Return of the environment's last episode. None: this is its first, or the last one failed.

        Returns:
            True for a hard reset.
        """
        if last_return is None or not last_return < self.return_threshold:
            return True
        return float(np.random.default_rng((_DRAW, seed)).random()) >= self.soft_probability
