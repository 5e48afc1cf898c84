"""Keeps a number of pedestrians in town, who walk on pavements and cross at crossings."""

from __future__ import annotations

import math
import random
from typing import Any

import libsumo
import numpy as np
from libsumo import constants
from numpy.typing import NDArray

from sim_clients.scene import Actors, Ego
from sim_clients.sumo.carriageway import Carriageway
from sim_clients.sumo.graph import FootGraph

HALF_EXTENT_M = (0.25, 0.25)
_VARIABLES = (
    constants.VAR_POSITION,
    constants.VAR_ANGLE,
    constants.VAR_SPEED,
    constants.VAR_ROAD_ID,
    constants.VAR_NEXT_EDGE,
)
_ROADS_PER_WALK = 25
_CROSSING_SHARE = 0.5
FAR_M = 60.0
COURTESY_MPS2 = 4.0
"""A pedestrian does not step in front of a car that would have to brake harder than this."""


class Pedestrians:
    """Pedestrians with random walks; a walk that ends is replaced by a new one elsewhere.

    Args:
        graph: Pavements.
        carriageway: Where vehicles drive.
        seed: Seeds places and walks.
        count: Pedestrians to keep.
    """

    def __init__(self, graph: FootGraph, carriageway: Carriageway, seed: int, count: int) -> None:
        self._graph = graph
        self._carriageway = carriageway
        self._rng = random.Random(f"pedestrians/{seed}")
        self._weights = [graph.length_m[road] for road in graph.pavements]
        self.count = count
        self._next = 0
        self._alive: set[str] = set()
        self._held: dict[str, float] = {}
        self._results: dict[str, dict[int, Any]] = {}
        self._actors = Actors.empty()
        self._on_pavement = np.zeros(0, np.bool_)

    def fill(self) -> None:
        """Puts all pedestrians on the pavements at once."""
        while len(self._alive) < self.count:
            self._add(*self._place())

    def _place(self) -> tuple[str, float]:
        road = self._rng.choices(self._graph.pavements, self._weights)[0]
        return road, self._rng.uniform(1.0, self._graph.length_m[road] - 1.0)

    def _add(self, road: str, at: float) -> None:
        name = f"p{self._next}"
        self._next += 1
        walk = self._graph.wander(road, _ROADS_PER_WALK, _CROSSING_SHARE, self._rng)
        kind = "stroller" if self._rng.random() < 0.3 else "adult"
        libsumo.person.add(name, road, at, typeID=kind)
        libsumo.person.appendWalkingStage(name, walk, self._graph.length_m[walk[-1]] / 2)
        libsumo.person.subscribe(name, _VARIABLES)
        self._alive.add(name)

    def after_step(self, ego_xy: tuple[float, float] | None) -> None:
        """Reads the step just made and replaces those who have arrived.

        Args:
            ego_xy: Where the ego is; None when there is none yet.
        """
        for name in libsumo.simulation.getArrivedPersonIDList():
            self._alive.discard(name)
            self._held.pop(name, None)
        self._read()
        if len(self._alive) < self.count:
            road, at = self._place()
            x, y = libsumo.simulation.convert2D(road, at, 0)
            if ego_xy is None or math.hypot(x - ego_xy[0], y - ego_xy[1]) > FAR_M:
                self._add(road, at)

    def _read(self) -> None:
        self._results = libsumo.person.getAllSubscriptionResults()
        rows = sorted(
            (int(name[1:]), *values[constants.VAR_POSITION], values[constants.VAR_ANGLE],
             values[constants.VAR_SPEED], self._beside_road(values))
            for name, values in self._results.items()
        )  # fmt: skip
        raw = np.array(rows, np.float64).reshape(len(rows), 6)
        yaw = (np.radians(90.0 - raw[:, 3]) + np.pi) % (2 * np.pi) - np.pi
        forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        self._actors = Actors(
            raw[:, 0].astype(np.int64),
            np.column_stack([raw[:, 1:3], yaw]),
            np.tile(HALF_EXTENT_M, (len(rows), 1)),
            raw[:, 4:5] * forward,
        )
        self._on_pavement = raw[:, 5] > 0.5

    def _beside_road(self, values: dict[int, Any]) -> bool:
        """False on a crossing, and where a walking area of a junction reaches into the road."""
        road = values[constants.VAR_ROAD_ID]
        return not (
            "_c" in road or ("_w" in road and self._carriageway.covers(*values[constants.VAR_POSITION]))
        )

    def read(self) -> tuple[Actors, NDArray[np.bool_]]:
        """Pedestrians after the last step, and who of them is not on the road."""
        return self._actors, self._on_pavement

    def yield_to(self, ego: Ego) -> None:
        """Holds those who are about to step onto a crossing right in front of the ego.

        SUMO's pedestrians with priority walk on whatever comes; people look first. Whoever waits at a crossing lets
        a car pass that is too close to stop comfortably, and walks as soon as it has passed or slowed down.
        """
        v = ego.speed_mps
        reach = v * 0.5 + v * v / (2 * COURTESY_MPS2) + ego.half_length_m
        cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
        hold: set[str] = set()
        if v > 0.5:
            for name, values in self._results.items():
                if "_w" not in values[constants.VAR_ROAD_ID] or "_c" not in values[constants.VAR_NEXT_EDGE]:
                    continue
                x, y = values[constants.VAR_POSITION]
                ahead = (x - ego.x) * cos + (y - ego.y) * sin
                left = (y - ego.y) * cos - (x - ego.x) * sin
                if -ego.half_length_m - 1.0 < ahead < reach + 1.0 and abs(left) < 9.0:
                    hold.add(name)
        self._hold(hold)

    def release(self) -> None:
        """Lets go whoever is held: the ego leaves."""
        self._hold(set())

    def _hold(self, hold: set[str]) -> None:
        for name in sorted(hold - set(self._held)):
            self._held[name] = libsumo.person.getMaxSpeed(name)
            libsumo.person.setSpeed(name, 0.0)
        for name in sorted(set(self._held) - hold):
            libsumo.person.setSpeed(name, self._held.pop(name))
