"""Which lane a pose is on: a grid over the lanes' centre lines."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim_clients.geometry import wrap_angle
from sim_clients.scene import SceneMap

_CELL_M = 8.0
_REACH_M = 6.0
"""A cell knows every lane piece within this distance of its edge; farther searches look at all pieces."""
_PIECE_M = 10.0
"""Longer segments are cut, so that their bounding boxes stay small."""
_HEADING_WEIGHT_M = 2.0
"""Metres that a lane across the heading counts as farther away: tells lanes apart that overlap in a junction."""


class LanePosition(NamedTuple):
    """A pose relative to a lane.

    Attributes:
        lane_id: The lane.
        s_m: Distance from the lane's beginning along its centre line.
        lateral_m: Offset from the centre line, left positive.
        heading_error_rad: Heading relative to the lane, counter-clockwise positive, in [-pi, pi).
    """

    lane_id: str
    s_m: float
    lateral_m: float
    heading_error_rad: float


class LaneLocator:
    """Finds the lane of a pose, in tens of microseconds.

    Args:
        map: The map; its lanes are indexed once.
    """

    def __init__(self, map: SceneMap) -> None:
        rows: list[tuple[float, ...]] = []
        self._lane_ids = list(map.lanes)
        for lane_index, lane in enumerate(map.lanes.values()):
            s = 0.0
            for (x0, y0), (x1, y1) in zip(lane.centre[:-1].tolist(), lane.centre[1:].tolist(), strict=True):
                length = math.hypot(x1 - x0, y1 - y0)
                if length < 1e-9:
                    continue
                ux, uy = (x1 - x0) / length, (y1 - y0) / length
                count = math.ceil(length / _PIECE_M)
                piece = length / count
                rows += [
                    (x0 + i * piece * ux, y0 + i * piece * uy, ux, uy, piece, s + i * piece, lane_index)
                    for i in range(count)
                ]
                s += length
        # columns: x, y, unit x, unit y, length, s, lane index
        self._pieces = np.ascontiguousarray(np.array(rows, np.float64).reshape(-1, 7).T)
        cells: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index, (x, y, ux, uy, length, _, _) in enumerate(rows):
            x_cells = _cells(x, x + ux * length)
            y_cells = _cells(y, y + uy * length)
            for i in x_cells:
                for j in y_cells:
                    cells[i, j].append(index)
        self._cells = {key: np.ascontiguousarray(self._pieces[:, found]) for key, found in cells.items()}

    def locate(self, x: float, y: float, yaw: float, max_distance_m: float = 4.0) -> LanePosition | None:
        """Returns the position on the nearest lane that runs within 90 degrees of the heading.

        Where lanes overlap (junctions), a lane that runs more along the heading is preferred: one at an angle e
        counts 2 * (1 - cos e) metres farther away.

        Args:
            x: Of the pose.
            y: Of the pose.
            yaw: Of the pose.
            max_distance_m: How far away the centre line may be.
        """
        return self._find(x, y, yaw, max_distance_m, any_direction=False)

    def locate_any_direction(
        self, x: float, y: float, yaw: float, max_distance_m: float = 6.0
    ) -> LanePosition | None:
        """Returns the position on the nearest lane, whichever way it runs."""
        return self._find(x, y, yaw, max_distance_m, any_direction=True)

    def _find(
        self, x: float, y: float, yaw: float, max_distance_m: float, *, any_direction: bool
    ) -> LanePosition | None:
        pieces: NDArray[np.float64] | None = self._pieces
        if max_distance_m <= _REACH_M:
            pieces = self._cells.get((math.floor(x / _CELL_M), math.floor(y / _CELL_M)))
        if pieces is None or pieces.shape[1] == 0:
            return None
        px, py, ux, uy, lengths, starts, lanes = pieces
        dx, dy = x - px, y - py
        along = np.minimum(np.maximum(dx * ux + dy * uy, 0.0), lengths)
        ex, ey = dx - along * ux, dy - along * uy
        distance = np.sqrt(ex * ex + ey * ey)
        cost = distance
        if not any_direction:
            fit = ux * math.cos(yaw) + uy * math.sin(yaw)
            cost = np.where(fit > 0.0, distance + _HEADING_WEIGHT_M * (1.0 - fit), np.inf)
            cost = np.where(distance <= max_distance_m, cost, np.inf)
        best = int(np.argmin(cost))
        if not cost[best] < np.inf or distance[best] > max_distance_m:
            return None
        unit_x, unit_y = float(ux[best]), float(uy[best])
        return LanePosition(
            self._lane_ids[int(lanes[best])],
            float(starts[best] + along[best]),
            unit_x * float(dy[best]) - unit_y * float(dx[best]),
            wrap_angle(yaw - math.atan2(unit_y, unit_x)),
        )


def _cells(a: float, b: float) -> range:
    low, high = min(a, b) - _REACH_M, max(a, b) + _REACH_M
    return range(math.floor(low / _CELL_M), math.floor(high / _CELL_M) + 1)
