"""Where vehicles drive: tells pedestrians on the road from those beside it."""

from __future__ import annotations

import math

import numpy as np

from sim_clients.scene import Floats, SceneMap

_CELL_M = 0.2
"""Answers hold for a cell of this size and are kept: pedestrians stand about in the same places."""


class Carriageway:
    """The road polygons of a map, to be asked about points.

    Args:
        map: The map.
    """

    def __init__(self, map: SceneMap) -> None:
        self._polygons = map.road_polygons
        self._low = np.array([polygon.min(axis=0) for polygon in self._polygons]).reshape(-1, 2)
        self._known: dict[tuple[int, int], bool] = {}
        self._high = np.array([polygon.max(axis=0) for polygon in self._polygons]).reshape(-1, 2)

    def covers(self, x: float, y: float) -> bool:
        """True if a place, to within 0.15 m, lies in a road polygon."""
        cell = math.floor(x / _CELL_M), math.floor(y / _CELL_M)
        known = self._known.get(cell)
        if known is None:
            known = self._known[cell] = self._test((np.array(cell) + 0.5) * _CELL_M)
        return known

    def _test(self, point: Floats) -> bool:
        near = np.nonzero(((point >= self._low) & (point <= self._high)).all(axis=1))[0]
        return any(_inside(point, self._polygons[index]) for index in near)


def _inside(point: Floats, polygon: Floats) -> bool:
    """Even-odd rule: how often a ray to the right meets the edge."""
    x, y = polygon[:, 0] - point[0], polygon[:, 1] - point[1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    crosses = (y > 0.0) != (next_y > 0.0)
    x, y, next_x, next_y = x[crosses], y[crosses], next_x[crosses], next_y[crosses]
    return bool(np.count_nonzero(x - y * (next_x - x) / (next_y - y) > 0.0) % 2)
