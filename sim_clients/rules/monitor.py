"""All rules of one environment, updated once a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim_clients.lane_locator import LaneLocator, LanePosition
from sim_clients.route_tracker import RouteProgress, RouteTracker
from sim_clients.rules.collisions import CollisionMonitor, Hit
from sim_clients.rules.hazards import Hazard, hazard_vehicle, hazard_walker
from sim_clients.rules.lights import (
    RUN_RADIUS_M,
    LightAhead,
    RedLightMonitor,
    StopLines,
    light_ahead,
    tail_segment,
)
from sim_clients.rules.stop_signs import StopSignMonitor, StopSignState
from sim_clients.scene import Scene, SceneMap

OUTSIDE_MARGIN_M = 1.3
"""The ego is outside its lane when its centre is this far beyond the lane's edge."""
WRONG_LANE_RAD = math.radians(120.0)
"""The ego is on a wrong lane when that runs at a larger angle than this to its heading."""
_FAR_LANE_M = 6.0
_ROUTE_BACK = 8
_ROUTE_AHEAD = 20
"""Route points behind and ahead of the ego whose lanes count as its own for lights."""


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What the rules say of one scene.

    Attributes:
        progress: Where the ego is on its route.
        lane: The lane that the ego is on, if any.
        light: The traffic light ahead, if any.
        stop: The stop sign ahead, if any.
        hits: Collisions that began on this step.
        ran_red: A red light was run on this step.
        ran_stop: A stop sign was run on this step.
        outside_lane: The ego's centre is more than half a lane + 1.3 m from every lane's centre line.
        wrong_lane: The ego is not outside, but on a lane that runs the other way (not inside junctions).
        vehicle_ahead: The vehicle in the way, as the reward sees it.
        walker_ahead: The walker in the way, as the reward sees it.
    """

    progress: RouteProgress
    lane: LanePosition | None
    light: LightAhead | None
    stop: StopSignState
    hits: tuple[Hit, ...]
    ran_red: bool
    ran_stop: bool
    outside_lane: bool
    wrong_lane: bool
    vehicle_ahead: Hazard | None
    walker_ahead: Hazard | None


class RuleMonitor:
    """Watches one environment.

    Args:
        map: The map that its simulator has loaded.
    """

    def __init__(self, map: SceneMap) -> None:
        self._map = map
        self._locator = LaneLocator(map)
        self._lines = StopLines(map)
        self._red_lights = RedLightMonitor(self._lines)
        self._stop_signs = StopSignMonitor(map)
        self._collisions = CollisionMonitor()
        self._tracker: RouteTracker | None = None

    def reset(self, scene: Scene) -> None:
        """Begins an episode with its first scene. Call :meth:`update` with that scene, too."""
        self._red_lights.reset()
        self._stop_signs.reset()
        self._collisions.reset()
        self._tracker = RouteTracker(scene.route)

    def update(self, scene: Scene) -> RuleReport:
        """Reports on the next scene of the episode.

        A route that replaces the one before must begin with the same points.

        Raises:
            RuntimeError: ``reset`` was not called.
            ValueError: The route was replaced by another one.
        """
        tracker = self._tracker
        if tracker is None:
            raise RuntimeError(
                "RuleMonitor.update() before reset(): call reset(scene) with the episode's first scene"
            )
        if scene.route is not tracker.route:
            tracker.extend(scene.route)
        ego = scene.ego
        progress = tracker.update(ego)
        lane = self._locator.locate(ego.x, ego.y, ego.yaw)
        outside, wrong = self._lane_use(scene, lane)
        light, ran_red = self._lights(scene, progress.index)
        stop = self._stop_signs.update(scene, progress.index, lane.lane_id if lane else None)
        return RuleReport(
            progress=progress,
            lane=lane,
            light=light,
            stop=stop,
            hits=self._collisions.update(scene),
            ran_red=ran_red,
            ran_stop=stop.ran,
            outside_lane=outside,
            wrong_lane=wrong,
            vehicle_ahead=hazard_vehicle(scene),
            walker_ahead=hazard_walker(scene),
        )

    def _lights(self, scene: Scene, route_index: int) -> tuple[LightAhead | None, bool]:
        ego = scene.ego
        if not self._lines.near(ego.x, ego.y, RUN_RADIUS_M):
            return None, self._red_lights.update(scene, None, ())
        near_end, far_end = tail_segment(ego)
        yaw = ego.yaw
        near_lane = self._locator.locate(near_end[0], near_end[1], yaw)
        far_lane = self._locator.locate(far_end[0], far_end[1], yaw)
        lane_ids = scene.route.lane_ids
        route_lanes = set(lane_ids[max(route_index - _ROUTE_BACK, 0) : route_index + _ROUTE_AHEAD])
        return (
            light_ahead(scene, self._lines, near_lane.lane_id if near_lane else None, route_lanes),
            self._red_lights.update(scene, far_lane.lane_id if far_lane else None, route_lanes),
        )

    def _lane_use(self, scene: Scene, lane: LanePosition | None) -> tuple[bool, bool]:
        """Whether the ego is outside all lanes, and whether it is on a wrong one."""
        if lane is not None and abs(lane.lateral_m) <= self._map.lanes[lane.lane_id].width_m / 2:
            return False, False
        ego = scene.ego
        nearest = self._locator.locate_any_direction(ego.x, ego.y, ego.yaw, _FAR_LANE_M)
        if nearest is None:
            return True, False
        beneath = self._map.lanes[nearest.lane_id]
        if abs(nearest.lateral_m) > beneath.width_m / 2 + OUTSIDE_MARGIN_M:
            return True, False
        return False, not beneath.in_junction and abs(nearest.heading_error_rad) > WRONG_LANE_RAD
