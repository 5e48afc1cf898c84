"""Driving situations of a row, and sampling weights that keep the rare ones in every batch.

Recorded driving is mostly going straight at constant speed or standing at a red light. Cloned plainly, a policy
learns those and misses the frames that matter: starting, braking, turning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STANDING, STARTING, BRAKING, DRIVING = range(4)
SITUATIONS = ("standing", "starting", "braking", "driving")
TURN_STEER = 0.1
_SLOW_MPS = 1.0
_BRAKE = -0.05
_LATERAL = 3


def situations(label: NDArray[np.float32], speed: NDArray[np.float32]) -> NDArray[np.int64]:
    """What the expert does at each row, lengthwise.

    Args:
        label: (N, 2) acceleration and steer.
        speed: (N,) forward speed in m/s.

    Returns:
        (N,) STANDING (under 1 m/s and no throttle), STARTING (under 1 m/s and throttle), BRAKING or DRIVING.
    """
    slow, gas = speed < _SLOW_MPS, label[:, 0] > 0
    moving = np.where(label[:, 0] < _BRAKE, BRAKING, DRIVING)
    found: NDArray[np.int64] = np.where(slow, np.where(gas, STARTING, STANDING), moving)
    return found


def balanced_weights(
    label: NDArray[np.float32], speed: NDArray[np.float32], exponent: float, limit: float = 20.0
) -> NDArray[np.float64]:
    """Sampling weight of each row: (share of its class) ** -exponent.

    A class is a situation and a direction: left, straight or right.

    Args:
        label: (N, 2) acceleration and steer.
        speed: (N,) forward speed in m/s.
        exponent: 0 keeps the recorded mix, 1 gives each class the same share.
        limit: Largest weight relative to the smallest.

    Returns:
        (N,) float64 of mean 1.
    """
    lateral = 1 + np.sign(label[:, 1]) * (np.abs(label[:, 1]) > TURN_STEER)
    classes = situations(label, speed) * _LATERAL + lateral.astype(np.int64)
    counts = np.bincount(classes, minlength=len(SITUATIONS) * _LATERAL)
    per_class = np.maximum(counts, 1) ** -exponent
    per_class = np.minimum(per_class, per_class[counts > 0].min() * limit) if len(label) else per_class
    weights: NDArray[np.float64] = per_class[classes]
    return weights / weights.mean() if len(weights) else weights
