"""A wide road along x and reports for it, from which expected pixels are easily derived.

A map point (x, y) seen from an ego at the origin that heads east lies at u = 95.5 - 5 y, v = 151.5 - 5 x.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim_clients.rules.lights import LightAhead
from sim_clients.rules.stop_signs import StopSignState
from sim_clients.scene import LaneMarking, Scene, SceneMap, StopLine, StopSign
from tests.sim_clients.scenes import ego, line, route, scene

ROAD, ROUTE, MARKINGS = 0, 1, 2
VEHICLES, WALKERS, STOPS = (3, 4, 5, 6), (7, 8, 9, 10), (11, 12, 13, 14)
NO_STOP = StopSignState(None, False, float("inf"), False)


class Progress(NamedTuple):
    index: int = 0


class Report(NamedTuple):
    light: LightAhead | None = None
    stop: StopSignState = NO_STOP
    progress: Progress = Progress()


SIGN = StopSign("sign", "a", np.array([10.0, 0.0]), 0.0, 1.0, 1.7)


def wide_map() -> SceneMap:
    return SceneMap(
        name="wide",
        sha256="1" * 64,
        lanes={},
        road_polygons=(line((-200, -25), (200, -25), (200, 25), (-200, 25)),),
        markings=(
            LaneMarking(line((-200, 5), (200, 5)), True),
            LaneMarking(line((-200, -5), (200, -5)), False),
        ),
        pavements=(),
        crossings=(),
        stop_lines=(
            StopLine("near", "a", np.array([10.0, 0.0]), 0.0, 3.5),
            StopLine("far", "b", np.array([60.0, 0.0]), 0.0, 3.5),
        ),
        stop_signs=(SIGN,),
    )


MAP = wide_map()
AWAY = route(line((-900, 0), (-899, 0)))
"""A route that is nowhere near."""


def wide_scene(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, **changes: object) -> Scene:
    """A scene on the wide road, by default with the ego at the origin, lights off and no route in view."""
    base: dict[str, object] = {
        "map": MAP,
        "route": AWAY,
        "light_colours": np.zeros(2, np.uint8),
        "light_remaining": np.zeros(2),
    }
    return scene(ego(x, y, yaw), **{**base, **changes})


def extent(layer: np.ndarray, value: int = 255) -> tuple[int, int, int, int]:
    """First row, last row, first column, last column of a value."""
    rows, columns = np.nonzero(layer == value)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())
