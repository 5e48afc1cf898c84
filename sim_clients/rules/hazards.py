"""Vehicles and walkers in the way: the hazard tests of the reward (Found-RL, reward)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sim_clients.geometry import wrap_angle
from sim_clients.scene import Actors, Scene

HAZARD_M = 9.5
LIST_LENGTH = 10
"""Only the ten nearest actors (within 15 m) are looked at."""
VEHICLE_BEARING_RAD = math.radians(45.0)
VEHICLE_YAW_RAD = math.radians(150.0)
WALKER_BEARING_DEG_M = 162.0


class Hazard(NamedTuple):
    """An actor in the way.

    Attributes:
        row: Row in ``Scene.vehicles`` or ``Scene.walkers``.
        distance_m: Centre to centre.
        bearing_rad: Direction in the ego's frame, left positive.
    """

    row: int
    distance_m: float
    bearing_rad: float


def hazard_vehicle(scene: Scene) -> Hazard | None:
    """The nearest vehicle within 9.5 m and 45 degrees of straight ahead that does not come towards the ego.

    A vehicle whose yaw differs from the ego's by more than 150 degrees comes towards it.
    """
    for hazard in _nearest(scene, scene.vehicles):
        turn = abs(wrap_angle(float(scene.vehicles.pose[hazard.row, 2]) - scene.ego.yaw))
        if turn <= VEHICLE_YAW_RAD and abs(hazard.bearing_rad) < VEHICLE_BEARING_RAD:
            return hazard
    return None


def hazard_walker(scene: Scene) -> Hazard | None:
    """The nearest walker off the pavement within 9.5 m and a bearing that narrows with distance.

    The bearing must be less than 162 / (clip(distance, 1.5, 10.5) + 0.3) degrees.
    """
    for hazard in _nearest(scene, scene.walkers):
        limit = math.radians(WALKER_BEARING_DEG_M / (min(max(hazard.distance_m, 1.5), 10.5) + 0.3))
        if not scene.walker_on_pavement[hazard.row] and abs(hazard.bearing_rad) < limit:
            return hazard
    return None


def _nearest(scene: Scene, actors: Actors) -> list[Hazard]:
    """Actors within 9.5 m among the ten nearest within 15 m, nearest first."""
    if len(actors) == 0:
        return []
    ego = scene.ego
    dx, dy = actors.pose[:, 0] - ego.x, actors.pose[:, 1] - ego.y
    squares = dx * dx + dy * dy
    # the ten nearest within 15 m, cut to 9.5 m, are the ten nearest within 9.5 m
    rows = np.nonzero(squares <= HAZARD_M * HAZARD_M)[0]
    if len(rows) > 1:
        rows = rows[np.argsort(squares[rows], kind="stable")][:LIST_LENGTH]
    return [
        Hazard(
            int(row),
            math.sqrt(float(squares[row])),
            wrap_angle(math.atan2(float(dy[row]), float(dx[row])) - ego.yaw),
        )
        for row in rows
    ]
