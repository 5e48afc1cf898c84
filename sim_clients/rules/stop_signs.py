"""Stop signs: which one holds, whether it was obeyed, whether it was run (Found-RL, termination 4)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sim_clients.geometry import overlaps, to_frame
from sim_clients.scene import Scene, SceneMap, StopSign

DETECT_M = 50.0
LOOK_AHEAD_M = 20
"""Points, 1 m apart, along the route that are tested against the trigger box."""
STANDING_MPS = 0.1
STANDING_REACH_M = 5.5
"""Standing this near to the middle of the box obeys the sign, even if the ego does not reach into the box: the reward
asks for standstill from 5 m on, and a speed that follows it comes to rest there."""


class StopSignState(NamedTuple):
    """The stop sign that the ego has to heed.

    Attributes:
        target: The sign, or None.
        satisfied: True once the ego has stood for the target.
        distance_m: From the ego's centre to the middle of the target's box; infinite without a target.
        ran: True on the step on which the ego left the box of a sign for which it had not stood.
    """

    target: StopSign | None
    satisfied: bool
    distance_m: float
    ran: bool

    @property
    def active(self) -> StopSign | None:
        """The target while it is not satisfied."""
        return None if self.satisfied else self.target


class StopSignMonitor:
    """Follows the ego past stop signs, one target at a time."""

    def __init__(self, map: SceneMap) -> None:
        self._signs = map.stop_signs
        self._centres = np.array([sign.centre for sign in map.stop_signs], np.float64).reshape(-1, 2)
        self.reset()

    def reset(self) -> None:
        """Begins an episode."""
        self._target: StopSign | None = None
        self._satisfied = False
        self._entered = False

    def update(self, scene: Scene, route_index: int, own_lane_id: str | None) -> StopSignState:
        """Moves on by one step.

        Args:
            scene: The scene.
            route_index: The ego's place on the route.
            own_lane_id: The lane that the ego is on, if any.
        """
        ran = False
        if self._target is not None:
            ran = self._follow(scene, self._target, route_index, own_lane_id)
        if self._target is None and not ran:
            self._target = self._scan(scene, route_index, own_lane_id)
            self._satisfied = self._entered = False
            if self._target is not None:
                self._follow(scene, self._target, route_index, own_lane_id)
        if self._target is None:
            return StopSignState(None, False, math.inf, ran)
        return StopSignState(self._target, self._satisfied, _distance(scene, self._target), ran)

    def _follow(self, scene: Scene, sign: StopSign, route_index: int, own_lane_id: str | None) -> bool:
        """Updates entered, satisfied and the target; returns True if it was run."""
        ego = scene.ego
        touches = bool(
            overlaps(
                (ego.x, ego.y, ego.yaw),
                (ego.half_length_m, ego.half_width_m),
                np.array([[sign.centre[0], sign.centre[1], sign.yaw_rad]]),
                np.array([[sign.half_length_m, sign.half_width_m]]),
            )[0]
        )
        self._entered = self._entered or touches
        if ego.speed_mps < STANDING_MPS and (touches or _distance(scene, sign) <= STANDING_REACH_M):
            self._satisfied = True
        passed = _along(scene, sign) > sign.half_length_m
        left = passed or not (touches or self._sees(scene, sign, route_index, own_lane_id))
        if not left:
            return False
        ran = self._entered and not self._satisfied and passed
        self._target = None
        self._satisfied = self._entered = False
        return ran

    def _scan(self, scene: Scene, route_index: int, own_lane_id: str | None) -> StopSign | None:
        if not self._signs:
            return None
        ego = scene.ego
        distances = np.hypot(self._centres[:, 0] - ego.x, self._centres[:, 1] - ego.y)
        for index in np.argsort(distances, kind="stable"):
            sign = self._signs[int(index)]
            if distances[index] > DETECT_M:
                break
            if self._sees(scene, sign, route_index, own_lane_id):
                return sign
        return None

    def _sees(self, scene: Scene, sign: StopSign, route_index: int, own_lane_id: str | None) -> bool:
        """True if the sign's box is ahead within reach, on the ego's lane or in the way of the route."""
        ego = scene.ego
        if math.cos(sign.yaw_rad - ego.yaw) <= 0.0 or _along(scene, sign) > sign.half_length_m:
            return False
        reach = LOOK_AHEAD_M + sign.half_length_m + sign.half_width_m
        if _distance(scene, sign) > reach:
            return False
        if sign.lane_id == own_lane_id:
            return True
        points = scene.route.points[route_index : route_index + LOOK_AHEAD_M + 1]
        local = np.abs(to_frame(points, float(sign.centre[0]), float(sign.centre[1]), sign.yaw_rad))
        return bool(np.any((local[:, 0] <= sign.half_length_m) & (local[:, 1] <= sign.half_width_m)))


def _distance(scene: Scene, sign: StopSign) -> float:
    return math.hypot(scene.ego.x - float(sign.centre[0]), scene.ego.y - float(sign.centre[1]))


def _along(scene: Scene, sign: StopSign) -> float:
    """How far the ego's centre is beyond the middle of the box, in the sign's driving direction."""
    dx, dy = scene.ego.x - float(sign.centre[0]), scene.ego.y - float(sign.centre[1])
    return dx * math.cos(sign.yaw_rad) + dy * math.sin(sign.yaw_rad)
