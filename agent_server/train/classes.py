"""Driving situations of a row, and sampling weights that keep the rare ones in every batch.

Recorded driving is mostly going straight at constant speed or standing at a red light. Cloned plainly, a policy
learns those and misses the frames that matter: starting, braking, turning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codriver.driving import STATE_ITEMS

STANDING, STARTING, BRAKING, DRIVING = range(4)
SITUATIONS = ("standing", "starting", "braking", "driving")
TURN_STEER = 0.1
_SLOW_MPS = 1.0
_BRAKE = -0.05
_LATERAL = 3
_LIGHT, _AT_STOP_SIGN = STATE_ITEMS.index("light_state"), STATE_ITEMS.index("at_stop_sign")
_RED, _YELLOW = 1, 2


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


def signalled(state: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Rows (N,) whose state (N, S) tells of a red or yellow light or a stop sign; elsewhere it is for others to see."""
    light = state[:, _LIGHT]
    found: NDArray[np.bool_] = (light == _RED) | (light == _YELLOW) | (state[:, _AT_STOP_SIGN] > 0)
    return found


def balanced_weights(
    label: NDArray[np.float32],
    speed: NDArray[np.float32],
    signal: NDArray[np.bool_],
    exponent: float,
    limit: float = 20.0,
) -> NDArray[np.float64]:
    """Sampling weight of each row: (share of its class) ** -exponent.

    A class is a situation, a direction (left, straight or right) and whether a signal is the likely reason: braking
    for a pedestrian is rarer than braking for a light, and harder to see.

    Args:
        label: (N, 2) acceleration and steer.
        speed: (N,) forward speed in m/s.
        signal: (N,) as from :func:`signalled`.
        exponent: 0 keeps the recorded mix, 1 gives each class the same share.
        limit: Largest weight relative to the smallest.

    Returns:
        (N,) float64 of mean 1.
    """
    lateral = 1 + np.sign(label[:, 1]) * (np.abs(label[:, 1]) > TURN_STEER)
    classes = (situations(label, speed) * _LATERAL + lateral.astype(np.int64)) * 2 + signal
    counts = np.bincount(classes, minlength=len(SITUATIONS) * _LATERAL * 2)
    per_class = np.maximum(counts, 1) ** -exponent
    per_class = np.minimum(per_class, per_class[counts > 0].min() * limit) if len(label) else per_class
    weights: NDArray[np.float64] = per_class[classes]
    return weights / weights.mean() if len(weights) else weights
