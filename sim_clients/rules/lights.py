"""The traffic light ahead, and running a red one (Found-RL, state vector and termination 3)."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from sim_clients.geometry import segments_cross
from sim_clients.scene import Ego, LightColour, Scene, SceneMap

SEARCH_M = 18.0
"""How far from the search point a stop line is looked for."""
SEARCH_POINT_SHARE = 0.8
"""The search point lies this share of the half length behind the centre: a line is ahead until the tail is over it."""
TAIL_EXTRA_M = 1.0
"""The tail segment reaches this far behind the rear bumper."""
RUN_RADIUS_M = 30.0
"""A line farther away than this cannot be run, and one that was run counts anew once it is this far away."""
LINE_HALF_SHARE = 0.4
"""Half length of a stop line as a share of the lane width."""


@dataclass(frozen=True, slots=True)
class LightAhead:
    """The stop line of a traffic light ahead in the ego's lane.

    Attributes:
        index: Index in ``SceneMap.stop_lines``.
        colour: Colour of its light.
        distance_m: From the centre of the ego to the middle of the line.
        remaining: Share of the current phase that is left, 0..1.
    """

    index: int
    colour: LightColour
    distance_m: float
    remaining: float


class StopLines:
    """The stop lines of a map as columns."""

    def __init__(self, map: SceneMap) -> None:
        lines = map.stop_lines
        self.lane_ids = [line.lane_id for line in lines]
        self.centres = np.array([line.centre for line in lines], np.float64).reshape(-1, 2)
        self.directions = [(math.cos(line.yaw_rad), math.sin(line.yaw_rad)) for line in lines]
        self.half_widths_m = [LINE_HALF_SHARE * line.lane_width_m for line in lines]

    def near(self, x: float, y: float, radius_m: float) -> list[int]:
        """Indices of the lines within a radius, nearest first."""
        dx, dy = self.centres[:, 0] - x, self.centres[:, 1] - y
        squares = dx * dx + dy * dy
        found = np.nonzero(squares <= radius_m * radius_m)[0]
        if len(found) > 1:
            found = found[np.argsort(squares[found], kind="stable")]
        return [int(index) for index in found]


def light_ahead(
    scene: Scene, lines: StopLines, own_lane_id: str | None, route_lane_ids: Collection[str]
) -> LightAhead | None:
    """Finds the light that the ego has to heed.

    The stop line must lie ahead of a point 0.8 half lengths behind the ego's centre, at most 18 m from it, across
    the ego's heading (within 90 degrees), on the ego's lane or on a lane of the route close by. The lane on which the
    ego is goes before the route's (it may still have to change lanes), then the nearest.

    Args:
        scene: The scene.
        lines: The stop lines of its map.
        own_lane_id: The lane under the search point, if any.
        route_lane_ids: Lanes of the route from the ego to where the search ends.
    """
    ego = scene.ego
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    back = SEARCH_POINT_SHARE * ego.half_length_m
    tail_x, tail_y = ego.x - back * cos, ego.y - back * sin
    chosen = None
    for index in lines.near(tail_x, tail_y, SEARCH_M):
        ux, uy = lines.directions[index]
        x, y = lines.centres[index].tolist()
        ahead = (x - tail_x) * ux + (y - tail_y) * uy >= 0.0 and ux * cos + uy * sin > 0.0
        if not ahead:
            continue
        if lines.lane_ids[index] == own_lane_id:
            chosen = index
            break
        if chosen is None and lines.lane_ids[index] in route_lane_ids:
            chosen = index
    if chosen is None:
        return None
    x, y = lines.centres[chosen].tolist()
    return LightAhead(
        chosen,
        LightColour(int(scene.light_colours[chosen])),
        math.hypot(x - ego.x, y - ego.y),
        float(scene.light_remaining[chosen]),
    )


class RedLightMonitor:
    """Notices when the ego's tail crosses the stop line of a red light.

    The tail segment runs from 0.8 half lengths to one half length + 1 m behind the centre. Where the ego drove farther
    than that in a step, the segment is lengthened back to where its near end was, so that no line is jumped over.
    A line counts once per passing.
    """

    def __init__(self, lines: StopLines) -> None:
        self._lines = lines
        self.reset()

    def reset(self) -> None:
        """Begins an episode."""
        self._run: set[int] = set()
        self._near_end: tuple[float, float] | None = None

    def update(self, scene: Scene, own_lane_id: str | None, route_lane_ids: Collection[str]) -> bool:
        """Returns True if the ego ran a red light on this step.

        Args:
            scene: The scene.
            own_lane_id: The lane under the far end of the tail segment, if any.
            route_lane_ids: Lanes of the route around the ego.
        """
        ego = scene.ego
        near_end, far_end = tail_segment(ego)
        if self._near_end is not None:
            driven = math.hypot(near_end[0] - self._near_end[0], near_end[1] - self._near_end[1])
            length = math.hypot(near_end[0] - far_end[0], near_end[1] - far_end[1])
            # a jump of more than 10 m is a new place, not driving
            if length < driven < 10.0:
                far_end = self._near_end
        self._near_end, _ = tail_segment(ego)
        near = self._lines.near(ego.x, ego.y, RUN_RADIUS_M)
        self._run.intersection_update(near)
        cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
        ran = False
        for index in near:
            if scene.light_colours[index] != LightColour.RED or index in self._run:
                continue
            lane_id = self._lines.lane_ids[index]
            ux, uy = self._lines.directions[index]
            if (lane_id != own_lane_id and lane_id not in route_lane_ids) or ux * cos + uy * sin <= 0.0:
                continue
            x, y = self._lines.centres[index].tolist()
            half = self._lines.half_widths_m[index]
            if segments_cross(
                near_end, far_end, (x - half * uy, y + half * ux), (x + half * uy, y - half * ux)
            ):
                self._run.add(index)
                ran = True
        return ran


def tail_segment(ego: Ego) -> tuple[tuple[float, float], tuple[float, float]]:
    """Near and far end of the tail segment, in map coordinates."""
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    near, far = SEARCH_POINT_SHARE * ego.half_length_m, ego.half_length_m + TAIL_EXTRA_M
    return (ego.x - near * cos, ego.y - near * sin), (ego.x - far * cos, ego.y - far * sin)
