"""The state vector of 10 numbers.

Source: Found-RL, section on observations, and its released configuration (control, velocity, light, stop sign).
Item 8, the share of the phase that is left, is known to a simulator only: no camera sees it.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim_clients.scene import Ego, LightColour, StopSign

LIGHT_OFFSET_M = 5.0
LIGHT_RANGE_M = 5.0
STOP_SIGN_REACH_M = 10.0


class Light(Protocol):
    """The light that the ego drives towards, as the rules report it."""

    @property
    def colour(self) -> LightColour:
        """Its colour."""

    @property
    def distance_m(self) -> float:
        """Distance to its stop line."""

    @property
    def remaining(self) -> float:
        """Share of the phase that is left, 0..1."""


class Stop(Protocol):
    """The stop sign that the ego has to obey, as the rules report it."""

    @property
    def target(self) -> StopSign | None:
        """The sign, or None."""

    @property
    def satisfied(self) -> bool:
        """Whether the ego has already stopped for it."""

    @property
    def distance_m(self) -> float:
        """Distance to it."""


def active_sign(stop: Stop) -> StopSign | None:
    """The sign that still has to be obeyed, or None."""
    return None if stop.satisfied else stop.target


def state_vector(ego: Ego, light: Light | None, stop: Stop) -> NDArray[np.float32]:
    """Computes the state vector; items in ``codriver.driving.STATE_ITEMS``.

    Velocities are in m/s along the heading and to the left, not normalised. The light's distance item is
    clip(max(0, d - 5), 0, 5) / 5 for red and yellow and -1 otherwise; its phase item is -1 without a light.

    Args:
        ego: The ego with the control that was applied last.
        light: The light ahead on its lane, or None.
        stop: The stop sign's state.

    Returns:
        (10,) float32.
    """
    c, s = math.cos(ego.yaw), math.sin(ego.yaw)
    vx, vy = float(ego.velocity[0]), float(ego.velocity[1])
    colour, ratio, remaining = LightColour.NONE, -1.0, -1.0
    if light is not None and light.colour != LightColour.NONE:
        colour, remaining = LightColour(light.colour), light.remaining
        if colour != LightColour.GREEN:
            ratio = min(max(0.0, light.distance_m - LIGHT_OFFSET_M), LIGHT_RANGE_M) / LIGHT_RANGE_M
    at_sign = active_sign(stop) is not None and stop.distance_m <= STOP_SIGN_REACH_M
    control = ego.control
    return np.array(
        [
            control.throttle,
            control.steer,
            control.brake,
            ego.gear / 5,
            vx * c + vy * s,
            vy * c - vx * s,
            int(colour),
            ratio,
            remaining,
            at_sign,
        ],
        np.float32,
    )
