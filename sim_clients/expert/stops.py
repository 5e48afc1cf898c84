"""Where the route stops: its stop lines and stop signs, by distance along the route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim_clients.scene import Floats, Route, SceneMap

_MATCH_M = 4.0


@dataclass(frozen=True, slots=True)
class RouteLine:
    """A stop line on the route. Attributes: index in ``SceneMap.stop_lines``; distance_m along the route."""

    index: int
    distance_m: float


class RouteSign(NamedTuple):
    """A stop sign on the route. Attributes: id; distance_m of its trigger box's middle; half_length_m of the box."""

    id: str
    distance_m: float
    half_length_m: float


class JunctionSpan(NamedTuple):
    """A stretch of the route inside a junction: begin_m and end_m along the route."""

    begin_m: float
    end_m: float


class RouteStops:
    """Everything on a route that may ask for a stop.

    Args:
        map: The map.
        route: The route.

    Attributes:
        lines: Stop lines in driving order.
        signs: Stop signs in driving order.
        junctions: Junction stretches in driving order.
    """

    def __init__(self, map: SceneMap, route: Route) -> None:
        lanes = set(route.lane_ids)
        self.lines = sorted(
            (
                RouteLine(index, distance)
                for index, line in enumerate(map.stop_lines)
                if line.lane_id in lanes
                for distance in _passes(route, line.lane_id, line.centre, line.yaw_rad)
            ),
            key=lambda line: line.distance_m,
        )
        self.signs = sorted(
            (
                RouteSign(sign.id, distance, sign.half_length_m)
                for sign in map.stop_signs
                if sign.lane_id in lanes
                for distance in _passes(route, sign.lane_id, sign.centre, sign.yaw_rad)
            ),
            key=lambda sign: sign.distance_m,
        )
        self.junctions = _junctions(map, route)

    def lines_within(self, begin_m: float, end_m: float) -> list[RouteLine]:
        """Stop lines between two distances."""
        return [line for line in self.lines if begin_m <= line.distance_m <= end_m]

    def signs_within(self, begin_m: float, end_m: float) -> list[RouteSign]:
        """Stop signs whose box middle lies between two distances."""
        return [sign for sign in self.signs if begin_m <= sign.distance_m <= end_m]

    def next_junction(self, distance_m: float) -> JunctionSpan | None:
        """The junction stretch that the distance lies in, or the next one after it."""
        return next((span for span in self.junctions if span.end_m >= distance_m), None)


def _passes(route: Route, lane_id: str, centre: Floats, yaw: float) -> list[float]:
    """Distances at which the route passes a place on one of its lanes (a loop may pass it twice)."""
    away = np.hypot(route.points[:, 0] - centre[0], route.points[:, 1] - centre[1])
    turned = np.cos(route.yaws_rad - yaw) > 0.7
    near = np.flatnonzero((away < _MATCH_M) & turned)
    found: list[float] = []
    for group in np.split(near, np.flatnonzero(np.diff(near) > 1) + 1):
        if not len(group) or not any(route.lane_ids[i] == lane_id for i in group):
            continue
        best = int(group[np.argmin(away[group])])
        offset = centre - route.points[best]
        heading = route.yaws_rad[best]
        along = float(offset[0] * np.cos(heading) + offset[1] * np.sin(heading))
        found.append(float(route.distances_m[best]) + along)
    return found


def _junctions(map: SceneMap, route: Route) -> list[JunctionSpan]:
    inside = np.array(
        [map.lanes[lane].in_junction if lane in map.lanes else False for lane in route.lane_ids]
    )
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    last = len(inside) - 1
    return [
        JunctionSpan(float(route.distances_m[begin]), float(route.distances_m[min(end, last)]))
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
    ]
