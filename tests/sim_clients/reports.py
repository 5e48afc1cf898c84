"""Rule reports made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from sim_clients.route_tracker import RouteProgress
from sim_clients.rules.lights import LightAhead
from sim_clients.rules.monitor import RuleReport
from sim_clients.rules.stop_signs import StopSignState
from sim_clients.scene import Command, LightColour
from tests.sim_clients.scenes import MAP

NO_STOP = StopSignState(None, False, math.inf, False)


def progress(**changes: Any) -> RouteProgress:
    """On the route, 50 m of 300 m driven."""
    return replace(RouteProgress(50, 50.0, 0.0, 0.0, Command.LANE_FOLLOW, False, 50 / 300), **changes)


def report(**changes: Any) -> RuleReport:
    """Nothing ahead, nothing broken."""
    base = RuleReport(progress(), None, None, NO_STOP, (), False, False, False, False, None, None)
    return replace(base, **changes)


def light(colour: LightColour, distance_m: float) -> LightAhead:
    """A light ahead."""
    return LightAhead(0, colour, distance_m, 0.5)


def stop(distance_m: float, satisfied: bool = False) -> StopSignState:
    """The map's stop sign ahead."""
    return StopSignState(MAP.stop_signs[0], satisfied, distance_m, False)
