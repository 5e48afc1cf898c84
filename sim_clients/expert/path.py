"""The ego's own future path: the route ahead, joined smoothly from where the ego is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim_clients.scene import Ego, Floats, Route

PATH_STEP_M = 1.0
_JOIN_M = 6.0
_CURVATURE_REACH_M = 2.0


class PathAhead(NamedTuple):
    """The path of the ego's box centre, sampled every metre.

    Attributes:
        distances_m: (S,) from the ego, 0 first.
        points: (S, 2) map coordinates.
        yaws_rad: (S,) direction of travel.
        curvature: (S,) 1/m, left positive, of the route (not of the join).
        start_m: Distance along the route of the first sample.
    """

    distances_m: Floats
    points: Floats
    yaws_rad: Floats
    curvature: Floats
    start_m: float

    @property
    def poses(self) -> Floats:
        """(S, 3) x, y, yaw."""
        return np.column_stack([self.points, self.yaws_rad])


class RouteCurve:
    """A route as a function of the distance along it.

    Args:
        route: The route; positions beyond its end continue straight.
    """

    def __init__(self, route: Route) -> None:
        self.route = route
        self.yaws_rad = np.unwrap(route.yaws_rad)

    def at(self, distances_m: Floats) -> tuple[Floats, Floats]:
        """Points (S, 2) and yaws (S,) at distances (S,) along the route."""
        route = self.route
        known = route.distances_m
        x = np.interp(distances_m, known, route.points[:, 0])
        y = np.interp(distances_m, known, route.points[:, 1])
        yaw = np.interp(distances_m, known, self.yaws_rad)
        beyond = np.maximum(distances_m - known[-1], 0.0)
        last = self.yaws_rad[-1]
        return np.column_stack([x + beyond * np.cos(last), y + beyond * np.sin(last)]), yaw

    def curvature(self, distances_m: Floats) -> Floats:
        """(S,) signed curvature in 1/m, averaged over 4 m."""
        known = self.route.distances_m
        before = np.interp(distances_m - _CURVATURE_REACH_M, known, self.yaws_rad)
        after = np.interp(distances_m + _CURVATURE_REACH_M, known, self.yaws_rad)
        return np.asarray((after - before) / (2 * _CURVATURE_REACH_M))

    def project(self, x: float, y: float, near_m: float, reach_m: float = 6.0) -> tuple[float, float]:
        """Distance along the route and lateral offset (left positive) of the point nearest to ``near_m``."""
        distances = near_m + np.arange(-reach_m, reach_m + 0.25, 0.5)
        distances = np.clip(distances, 0.0, self.route.length_m + reach_m)
        points, yaws = self.at(distances)
        squared = (points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2
        best = int(np.argmin(squared))
        dx, dy = x - points[best, 0], y - points[best, 1]
        cos, sin = np.cos(yaws[best]), np.sin(yaws[best])
        return float(distances[best] + dx * cos + dy * sin), float(dy * cos - dx * sin)


def path_ahead(
    curve: RouteCurve, ego: Ego, distance_m: float, lateral_m: float, length_m: float
) -> PathAhead:
    """The route from the ego on; a lateral offset of the ego fades out along it.

    Args:
        curve: The route.
        ego: The ego.
        distance_m: Its distance along the route.
        lateral_m: Its offset, left positive.
        length_m: How far to look.
    """
    ahead = np.arange(0.0, length_m + PATH_STEP_M / 2, PATH_STEP_M)
    points, yaws = curve.at(distance_m + ahead)
    offset = lateral_m * np.exp(-ahead / _JOIN_M)
    points = points + offset[:, None] * np.column_stack([-np.sin(yaws), np.cos(yaws)])
    heading = yaws - np.arctan(offset / _JOIN_M)
    error = (ego.yaw - heading[0] + np.pi) % (2 * np.pi) - np.pi
    heading = heading + error * np.exp(-ahead / (_JOIN_M / 2))
    return PathAhead(ahead, points, heading, curve.curvature(distance_m + ahead), distance_m)


def speed_limits(
    path: PathAhead, top_speed: float, lateral_acceleration: float, deceleration: float
) -> Floats:
    """(S,) m/s: what curvature allows at each sample, with room to brake for what comes after it."""
    bend = np.abs(path.curvature)
    allowed = np.minimum(top_speed, np.sqrt(lateral_acceleration / np.maximum(bend, 1e-6)))
    energy = allowed**2 / (2 * deceleration) + path.distances_m
    reachable = np.minimum.accumulate(energy[::-1])[::-1] - path.distances_m
    return np.asarray(np.sqrt(2 * deceleration * reachable))


def free_run(limits: Floats, speed: float, acceleration: float, times: Floats) -> Floats:
    """(T,) metres that the ego covers by each time if nothing stops it: it accelerates up to the limits."""
    step = float(times[1] - times[0])
    covered = np.empty(len(times))
    position = 0.0
    last = len(limits) - 1
    for i in range(len(times)):
        covered[i] = position
        limit = float(limits[min(last, int(position / PATH_STEP_M))])
        change = min(max(limit - speed, -2.0 * step), acceleration * step)
        position += max(0.0, speed + change / 2) * step
        speed = max(0.0, speed + change)
    return covered
