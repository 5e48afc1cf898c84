"""Who goes first where paths meet."""

from __future__ import annotations

from typing import NamedTuple

from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import Scene, SceneMap


class Claim(NamedTuple):
    """What a met actor can claim.

    Attributes:
        waits: It can still stop before its junction.
        on_ring: It is on a roundabout.
    """

    waits: bool
    on_ring: bool


class RightOfWay:
    """Rules of precedence that follow from the map alone.

    Args:
        map: The map.
        rings: Lanes of roundabouts.
    """

    def __init__(self, map: SceneMap, rings: frozenset[str]) -> None:
        self._map = map
        self._rings = rings

    def ego_first(self, scene: Scene, report: RuleReport, claim: Claim) -> bool:
        """True if the ego need not yield: the other can still stop, and the ego is on the roundabout or junction."""
        if report.lane is None or not claim.waits:
            return False
        lane = report.lane.lane_id
        if lane in self._rings and not claim.on_ring:
            return True
        return self._map.lanes[lane].in_junction and not claim.on_ring
