"""Roundabouts, found from the lane graph: short loops of lanes. Whoever is on one has right of way."""

from __future__ import annotations

import numpy as np

from sim_clients.scene import SceneMap

_LONGEST_RING_M = 200.0


def ring_lanes(map: SceneMap) -> frozenset[str]:
    """Lanes from which one can drive back to the same lane within 200 m."""
    lengths = {lane.id: float(np.hypot(*np.diff(lane.centre, axis=0).T).sum()) for lane in map.lanes.values()}
    return frozenset(lane for lane in map.lanes if _returns(map, lane, lengths))


def _returns(map: SceneMap, start: str, lengths: dict[str, float]) -> bool:
    shortest = {start: 0.0}
    frontier = [start]
    while frontier:
        lane = frontier.pop()
        length = shortest[lane] + lengths[lane]
        if length > _LONGEST_RING_M:
            continue
        for following in map.lanes[lane].successors:
            if following == start:
                return True
            if following in lengths and length < shortest.get(following, np.inf):
                shortest[following] = length
                frontier.append(following)
    return False
