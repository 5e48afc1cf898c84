"""Vehicles brake for an ego that stands where SUMO does not expect it."""

from __future__ import annotations

import libsumo
import numpy as np
from numpy.typing import NDArray

from sim_clients.geometry import overlaps
from sim_clients.scene import Actors, Ego

_NEAR_M = 30.0
_BRAKING_MPS2 = 4.0
_REACTION_S = 0.2
_GAP_M = 0.5
_ONCOMING_COS = -0.95


class Courtesy:
    """Holds vehicles whose braking distance ends in the ego.

    SUMO measures gaps along lanes. Where lanes meet, a car that stands across them sticks out farther than that: its
    vehicles would drive into its flank or rear. Drivers look at the car, and so does this.
    """

    def __init__(self) -> None:
        self._held: set[str] = set()

    def yield_to(self, ego: Ego, vehicles: Actors) -> None:
        """Brakes whoever would drive into the ego, and lets go whoever no longer would.

        Args:
            ego: The ego as it moves on this step.
            vehicles: The others after the last step.
        """
        self._hold({f"v{number}" for number in vehicles.ids[would_hit(ego, vehicles)]}, vehicles)

    def release(self, vehicles: Actors) -> None:
        """Lets go whoever is held: the ego leaves.

        Args:
            vehicles: The others after the last step.
        """
        self._hold(set(), vehicles)

    def _hold(self, hold: set[str], vehicles: Actors) -> None:
        living = {f"v{number}" for number in vehicles.ids}
        for name in sorted(hold - self._held):
            libsumo.vehicle.setSpeed(name, 0.0)
        for name in sorted((self._held - hold) & living):
            libsumo.vehicle.setSpeed(name, -1.0)
        self._held = hold


def would_hit(ego: Ego, vehicles: Actors) -> NDArray[np.bool_]:
    """(N,) bool: the ego lies within the strip that a vehicle needs to come to a stop behind or before it."""
    yaw = vehicles.pose[:, 2]
    forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    speed = np.sum(vehicles.velocity * forward, axis=1)
    ego_speed = np.clip(forward @ ego.velocity, 0.0, speed)
    reach = (speed**2 - ego_speed**2) / (2 * _BRAKING_MPS2) + _REACTION_S * (speed - ego_speed) + _GAP_M
    offset = vehicles.pose[:, :2] - np.array([ego.x, ego.y])
    candidates = np.hypot(offset[:, 0], offset[:, 1]) < _NEAR_M
    candidates &= np.cos(yaw - ego.yaw) > _ONCOMING_COS
    strip = vehicles.pose.copy()
    strip[:, :2] += (vehicles.half_extent[:, :1] + reach[:, None] / 2) * forward
    half = np.stack([reach / 2, vehicles.half_extent[:, 1]], axis=1)
    pose, extent = (ego.x, ego.y, ego.yaw), (ego.half_length_m, ego.half_width_m)
    return np.asarray(candidates & overlaps(pose, extent, strip, half))
