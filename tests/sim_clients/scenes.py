"""A small map and scenes on it, for the tests of everything that is computed from a scene.

The map: "west" runs east along y = 0 for 100 m to a signalised crossing, "cross" goes straight over it for 20 m and
"east" goes on for 180 m; "left" turns north inside the junction onto "north". "pass" is the lane to the left of
"west"; "oncoming" runs west at y = 7. A stop sign stands on "east", its box around x = 200.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from sim_clients.scene import (
    Actors,
    Command,
    Control,
    Ego,
    Lane,
    LaneMarking,
    LightColour,
    Route,
    Scene,
    SceneMap,
    StopLine,
    StopSign,
)


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float64)


def quarter(x: float, y: float, radius: float, count: int = 12) -> np.ndarray:
    """A left turn that begins at (x, y) heading east."""
    angles = np.linspace(0.0, math.pi / 2, count)
    return np.stack([x + radius * np.sin(angles), y + radius * (1 - np.cos(angles))], axis=1)


def small_map() -> SceneMap:
    lanes = [
        Lane("west", line((0, 0), (50, 0), (100, 0)), 3.5, False, 13.9, "pass", None, ("cross", "left")),
        Lane("pass", line((0, 3.5), (100, 3.5)), 3.5, False, 13.9, None, "west", ()),
        Lane("cross", line((100, 0), (120, 0)), 3.5, True, 13.9, None, None, ("east",)),
        Lane("left", quarter(100, 0, 15), 3.5, True, 13.9, None, None, ("north",)),
        Lane("east", line((120, 0), (300, 0)), 3.5, False, 13.9, None, None, ()),
        Lane("north", line((115, 15), (115, 100)), 3.5, False, 13.9, None, None, ()),
        Lane("oncoming", line((100, 7), (0, 7)), 3.5, False, 13.9, None, None, ()),
    ]
    return SceneMap(
        name="small",
        sha256="0" * 64,
        lanes={lane.id: lane for lane in lanes},
        road_polygons=(line((0, -2), (300, -2), (300, 9), (0, 9)),),
        markings=(LaneMarking(line((0, 1.75), (100, 1.75)), True),),
        pavements=(line((0, -5), (300, -5), (300, -2), (0, -2)),),
        crossings=(),
        stop_lines=(
            StopLine("west-line", "west", np.array([98.0, 0.0]), 0.0, 3.5),
            StopLine("pass-line", "pass", np.array([98.0, 3.5]), 0.0, 3.5),
        ),
        stop_signs=(StopSign("sign", "east", np.array([200.0, 0.0]), 0.0, 1.5, 1.75),),
    )


MAP = small_map()


def route(points: np.ndarray, lane_ids: tuple[str, ...] | None = None) -> Route:
    """A route through dense points."""
    steps = np.diff(points, axis=0)
    yaws = np.arctan2(steps[:, 1], steps[:, 0])
    return Route(
        points=points,
        yaws_rad=np.append(yaws, yaws[-1]),
        lane_ids=lane_ids or ("west",) * len(points),
        commands=np.full(len(points), int(Command.LANE_FOLLOW), np.int64),
        distances_m=np.append(0.0, np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))),
    )


def straight_route(length_m: int = 300) -> Route:
    """East along y = 0 from x = 0, over the crossing."""
    x = np.arange(length_m + 1, dtype=np.float64)
    ids = tuple("west" if value < 100 else "cross" if value < 120 else "east" for value in x)
    return route(np.stack([x, np.zeros_like(x)], axis=1), ids)


def ego(x: float = 10.0, y: float = 0.0, yaw: float = 0.0, speed: float = 0.0, **changes: Any) -> Ego:
    """A car of 4.9 m by 2.1 m that drives where it points."""
    velocity = speed * np.array([math.cos(yaw), math.sin(yaw)])
    car = Ego(x, y, yaw, velocity, np.zeros(2), 2.45, 1.05, Control())
    return replace(car, **changes)


def actors(
    *rows: tuple[float, float, float], half: tuple[float, float] = (2.3, 0.95), first_id: int = 1
) -> Actors:
    """Standing actors at poses (x, y, yaw)."""
    count = len(rows)
    return Actors(
        np.arange(first_id, first_id + count, dtype=np.int64),
        np.array(rows, np.float64).reshape(-1, 3),
        np.tile(np.array(half, np.float64), (count, 1)),
        np.zeros((count, 2)),
    )


def scene(car: Ego | None = None, **changes: Any) -> Scene:
    """A scene on the small map, with green lights and nobody else."""
    base = Scene(
        map=MAP,
        route=ROUTE,
        time_s=0.0,
        ego=car or ego(),
        vehicles=Actors.empty(),
        walkers=Actors.empty(),
        walker_on_pavement=np.zeros(0, np.bool_),
        light_colours=np.full(2, LightColour.GREEN, np.uint8),
        light_remaining=np.full(2, 0.5),
    )
    return replace(base, **changes)


ROUTE = straight_route()
