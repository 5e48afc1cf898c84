"""Where the ego is on its route."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim_clients.geometry import wrap_angle
from sim_clients.scene import Command, Ego, Route

COMPLETE_SHARE = 0.99
GOAL_RADIUS_M = 10.0
_BEHIND = 3
_AHEAD = 15
_AHEAD_AT_START = 40
"""Points around the last index that are searched: short, so that a route that crosses itself is followed in order."""


@dataclass(frozen=True, slots=True)
class RouteProgress:
    """Progress along a route.

    Attributes:
        index: Last route point at or behind the ego; never decreases.
        distance_m: Distance driven along the route; never decreases.
        lateral_m: Offset from the route, left positive.
        heading_error_rad: Heading relative to the route, counter-clockwise positive, in [-pi, pi).
        command: Command in force.
        completed: More than 99 % of the length driven and within 10 m of the goal (Found-RL's route completion
            test); stays True.
        share: ``distance_m`` as a share of the route's length, 0..1.
    """

    index: int
    distance_m: float
    lateral_m: float
    heading_error_rad: float
    command: Command
    completed: bool
    share: float


class RouteTracker:
    """Follows the ego along a route by a local search around its last position.

    Args:
        route: The route; at least two points.

    Raises:
        ValueError: The route has fewer than two points.
    """

    def __init__(self, route: Route) -> None:
        self.reset(route)

    def reset(self, route: Route) -> None:
        """Begins a route at its first point."""
        if len(route.points) < 2:
            raise ValueError(f"a route needs at least two points, this one has {len(route.points)}")
        self._route = route
        self._index = 0
        self._distance_m = 0.0
        self._completed = False
        self._started = False

    def extend(self, route: Route) -> None:
        """Goes on with a longer route that begins with the same points.

        Raises:
            ValueError: The new route does not begin with the old one.
        """
        old = self._route.points
        if len(route.points) < len(old) or not np.allclose(
            route.points[self._index : len(old) - 1], old[self._index : -1], atol=1e-6
        ):
            raise ValueError(
                "the new route does not begin with the points of the old one; reset() takes another route"
            )
        self._route = route
        self._completed = False

    @property
    def route(self) -> Route:
        """The route that is followed."""
        return self._route

    def update(self, ego: Ego) -> RouteProgress:
        """Moves on to where the ego is now."""
        route = self._route
        last_segment = len(route.points) - 2
        first = max(self._index - _BEHIND, 0)
        ahead = _AHEAD if self._started else _AHEAD_AT_START
        stop = min(self._index + ahead, last_segment) + 1
        self._started = True
        segment, share, lateral = self._project(ego, first, stop, last_segment)
        self._index = max(self._index, segment + int(share >= 1.0))
        start_m, end_m = float(route.distances_m[segment]), float(route.distances_m[segment + 1])
        self._distance_m = max(self._distance_m, start_m + share * (end_m - start_m))
        yaw = float(route.yaws_rad[segment])
        yaw += share * wrap_angle(float(route.yaws_rad[segment + 1]) - yaw)
        completed_share = self._distance_m / route.length_m
        if completed_share > COMPLETE_SHARE and not self._completed:
            goal_x, goal_y = route.points[-1].tolist()
            self._completed = math.hypot(goal_x - ego.x, goal_y - ego.y) <= GOAL_RADIUS_M
        return RouteProgress(
            self._index,
            self._distance_m,
            lateral,
            wrap_angle(ego.yaw - yaw),
            Command(int(route.commands[self._index])),
            self._completed,
            completed_share,
        )

    def _project(self, ego: Ego, first: int, stop: int, last_segment: int) -> tuple[int, float, float]:
        """Nearest of the segments first..stop - 1: its index, the share of it that lies behind, the offset."""
        points = self._route.points[first : stop + 1]
        start, step = points[:-1], points[1:] - points[:-1]
        dx, dy = ego.x - start[:, 0], ego.y - start[:, 1]
        sx, sy = step[:, 0], step[:, 1]
        shares = (dx * sx + dy * sy) / np.maximum(sx * sx + sy * sy, 1e-12)
        clipped = np.minimum(np.maximum(shares, 0.0), 1.0)
        ex, ey = dx - clipped * sx, dy - clipped * sy
        squares = ex * ex + ey * ey
        best = int(np.argmin(squares))
        cross = float(sx[best] * dy[best] - sy[best] * dx[best])
        lateral = math.copysign(math.sqrt(float(squares[best])), cross)
        before_start = first + best == 0 and shares[best] < 0.0
        beyond_end = first + best == last_segment and shares[best] > 1.0
        if before_start or beyond_end:  # the route's ends go on straight: only the offset across counts
            lateral = cross / max(math.hypot(float(sx[best]), float(sy[best])), 1e-9)
        return first + best, float(clipped[best]), lateral
