"""Disturbances of the applied action, so that recorded driving shows how to recover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim_clients.drive.config import Perturbation
from sim_clients.scene import STEP_S

_STALL_BRAKE = -0.5
_STALL_AT_LEAST_S = 2.5
"""Enough to stop from town speed."""
_STALL_MORE_S = 2.0


class Disturber:
    """Adds a steering or speed offset for short stretches at random times, and stalls the car.

    The offset rises and falls like a triangle, so the vehicle is led away rather than kicked. A stall is there for
    standing cars with a free road: an expert leaves standstill within a step, so that all but one in a hundred of its
    standing rows say "brake", and who learns from those alone never starts.

    Args:
        settings: How strong, how often, how long.
        rng: Source of randomness.
    """

    def __init__(self, settings: Perturbation, rng: np.random.Generator) -> None:
        self._settings = settings
        self._rng = rng
        self._left = 0
        self._stalled = 0
        self._length = 1
        self._peak = np.zeros(2, np.float32)

    def reset(self) -> None:
        """Ends a running disturbance."""
        self._left = self._stalled = 0

    def __call__(self, action: NDArray[np.float32], *, calm: bool) -> NDArray[np.float32]:
        """Disturbs an action.

        Args:
            action: (2,) acceleration and steer.
            calm: False while a disturbance would be dangerous; ends a running one.

        Returns:
            (2,) float32 within -1..1.
        """
        settings = self._settings
        if settings.stall_gap_s > 0.0 and self._stall(calm):
            return np.array([_STALL_BRAKE, action[1]], np.float32)
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

    def _stall(self, calm: bool) -> bool:
        """Whether the car is stalled at this step."""
        if not calm:
            self._stalled = 0
        elif self._stalled == 0 and self._rng.random() < STEP_S / self._settings.stall_gap_s:
            self._stalled = int((_STALL_AT_LEAST_S + self._rng.exponential(_STALL_MORE_S)) / STEP_S)
        elif self._stalled > 0:
            self._stalled -= 1
        return self._stalled > 0
