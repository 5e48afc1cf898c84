"""Disturbances of the applied action, so that recorded driving shows how to recover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim_clients.drive.config import Perturbation
from sim_clients.scene import STEP_S


class Disturber:
    """Adds a steering or speed offset for short stretches at random times.

    The offset rises and falls like a triangle, so the vehicle is led away rather than kicked.

    Args:
        settings: How strong, how often, how long.
        rng: Source of randomness.
    """

    def __init__(self, settings: Perturbation, rng: np.random.Generator) -> None:
        self._settings = settings
        self._rng = rng
        self._left = 0
        self._length = 1
        self._peak = np.zeros(2, np.float32)

    def reset(self) -> None:
        """Ends a running disturbance."""
        self._left = 0

    def __call__(self, action: NDArray[np.float32], *, calm: bool) -> NDArray[np.float32]:
        """Disturbs an action.

        Args:
            action: (2,) acceleration and steer.
            calm: False while a disturbance would be dangerous; ends a running one.

        Returns:
            (2,) float32 within -1..1.
        """
        settings = self._settings
        if settings.steer == 0.0 and settings.speed == 0.0:
            return action
        if not calm:
            self._left = 0
            return action
        if self._left == 0:
            if self._rng.random() >= STEP_S / settings.mean_gap_s:
                return action
            self._length = max(3, int(self._rng.exponential(settings.duration_s) / STEP_S) + 3)
            self._left = self._length
            sign = self._rng.choice((-1.0, 1.0))
            strength = self._rng.uniform(0.3, 1.0) * sign
            steers = settings.speed == 0.0 or (settings.steer != 0.0 and self._rng.random() < 0.7)
            self._peak[:] = (0.0, strength * settings.steer) if steers else (strength * settings.speed, 0.0)
        phase = 1.0 - abs(2.0 * self._left / self._length - 1.0)
        self._left -= 1
        return np.clip(action + phase * self._peak, -1.0, 1.0).astype(np.float32)
