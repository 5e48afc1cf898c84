"""Where a vehicle on a lane may be in the next seconds: on along its lane, one future for each branch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim_clients.scene import Floats, SceneMap

_STEP_M = 1.0
_MOST_BRANCHES = 6


class LanePath(NamedTuple):
    """A lane and a choice of what follows it, sampled every metre.

    Attributes:
        points: (N, 2).
        yaws_rad: (N,) unwrapped.
        entry_m: Distance from the lane's start to the first junction after it; infinite if there is none, 0 on a
            junction lane.
        turn_rad: Heading change through that junction, left positive.
    """

    points: Floats
    yaws_rad: Floats
    entry_m: float
    turn_rad: float

    def at(self, distances_m: Floats, lateral_m: float) -> Floats:
        """(T, 3) poses at distances along the path, with a constant offset to the left."""
        place = np.clip(distances_m / _STEP_M, 0.0, len(self.points) - 1.001)
        index = place.astype(np.intp)
        share = place - index
        points = self.points[index] * (1 - share)[:, None] + self.points[index + 1] * share[:, None]
        yaws = self.yaws_rad[index] * (1 - share) + self.yaws_rad[index + 1] * share
        x = points[:, 0] - lateral_m * np.sin(yaws)
        y = points[:, 1] + lateral_m * np.cos(yaws)
        return np.column_stack([x, y, yaws])


class LaneFutures:
    """Precomputed futures of every lane of a map.

    Args:
        map: The map.
        reach_m: How far the futures go beyond the end of the lane.
    """

    def __init__(self, map: SceneMap, reach_m: float = 60.0) -> None:
        self._map = map
        self._reach_m = reach_m
        self._paths: dict[str, tuple[LanePath, ...]] = {}

    def of(self, lane_id: str) -> tuple[LanePath, ...]:
        """The futures of one lane; empty for an unknown lane."""
        paths = self._paths.get(lane_id)
        if paths is None:
            paths = self._build(lane_id) if lane_id in self._map.lanes else ()
            self._paths[lane_id] = paths
        return paths

    def _build(self, lane_id: str) -> tuple[LanePath, ...]:
        done: list[list[str]] = []
        open_chains: list[tuple[list[str], float]] = [([lane_id], 0.0)]
        while open_chains and len(done) + len(open_chains) <= _MOST_BRANCHES:
            chain, length = open_chains.pop(0)
            following = [lane for lane in self._map.lanes[chain[-1]].successors if lane in self._map.lanes]
            if length >= self._reach_m or not following:
                done.append(chain)
                continue
            open_chains += [([*chain, lane], length + self._length(lane)) for lane in following]
        done += [chain for chain, _ in open_chains]
        return tuple(self._path(chain) for chain in done)

    def _length(self, lane_id: str) -> float:
        steps = np.diff(self._map.lanes[lane_id].centre, axis=0)
        return float(np.hypot(steps[:, 0], steps[:, 1]).sum())

    def _path(self, chain: list[str]) -> LanePath:
        lanes = [self._map.lanes[lane] for lane in chain]
        points = np.concatenate([lane.centre for lane in lanes])
        steps = np.hypot(*np.diff(points, axis=0).T)
        points = points[np.concatenate([[True], steps > 1e-3])]
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        samples = np.arange(0.0, along[-1] + _STEP_M / 2, _STEP_M)
        smooth = np.column_stack(
            [np.interp(samples, along, points[:, 0]), np.interp(samples, along, points[:, 1])]
        )
        smooth = np.vstack([smooth, points[-1]]) if along[-1] - samples[-1] > 0.2 else smooth
        if len(smooth) < 2:
            smooth = points[[0, -1]]
        gradient = np.gradient(smooth, axis=0)
        yaws = np.unwrap(np.arctan2(gradient[:, 1], gradient[:, 0]))
        entry, turn, length = np.inf, 0.0, 0.0
        for lane in lanes:
            if lane.in_junction:
                ends = lane.centre[1] - lane.centre[0], lane.centre[-1] - lane.centre[-2]
                headings = [np.arctan2(step[1], step[0]) for step in ends]
                turn = float((headings[1] - headings[0] + np.pi) % (2 * np.pi) - np.pi)
                entry = length
                break
            length += self._length(lane.id)
        return LanePath(smooth, yaws, entry, turn)
