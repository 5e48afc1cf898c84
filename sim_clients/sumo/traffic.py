"""Keeps a number of vehicles in town."""

from __future__ import annotations

import math
import random

import libsumo
import numpy as np
from libsumo import constants

from sim_clients.scene import Actors, Floats
from sim_clients.sumo.graph import RoadGraph

KINDS = {
    # name: (share, half length, half width) of the types in traffic.add.xml
    "compact": (0.25, 1.9, 0.85),
    "saloon": (0.35, 2.35, 0.925),
    "estate": (0.2, 2.5, 1.0),
    "van": (0.14, 2.95, 1.05),
    "lorry": (0.06, 3.6, 1.15),
}
_VARIABLES = (constants.VAR_POSITION, constants.VAR_ANGLE, constants.VAR_SPEED)
_ROADS_PER_TRIP = 60
_PATIENCE_S = 150.0
"""Longer than the longest red: whoever has waited this long is stuck."""
_LOOK_EVERY = 50
FAR_M = 70.0
"""Vehicles appear and disappear only this far from the ego."""


class Traffic:
    """Vehicles with random trips; a trip that ends is replaced by a new one elsewhere.

    Args:
        graph: Roads.
        seed: Seeds sizes, places and trips.
        count: Vehicles to keep.
    """

    def __init__(self, graph: RoadGraph, seed: int, count: int) -> None:
        self._graph = graph
        self._rng = random.Random(f"traffic/{seed}")
        self._roads = sorted(graph.lanes)
        self._weights = [graph.length_m[road] * len(graph.lanes[road]) for road in self._roads]
        self.count = count
        self._next = 0
        self._steps = 0
        self._half: dict[str, tuple[float, float]] = {}
        self._pending: dict[str, int] = {}
        self._actors = Actors.empty()

    def fill(self) -> None:
        """Puts all vehicles on the road at once, apart from each other."""
        taken: dict[str, list[float]] = {}
        for _ in range(self.count * 20):
            if len(self._pending) >= self.count:
                return
            road, lane, at = self._place()
            others = taken.setdefault(f"{road}_{lane}", [])
            if all(abs(at - other) > 14.0 for other in others):
                others.append(at)
                self._add(road, lane, at)

    def _place(self) -> tuple[str, int, float]:
        road = self._rng.choices(self._roads, self._weights)[0]
        length = self._graph.length_m[road]
        lane = self._rng.choice(self._graph.lanes[road])
        return road, int(lane.rsplit("_", 1)[1]), self._rng.uniform(8.0, max(length - 6.0, 8.5))

    def _add(self, road: str, lane: int, at: float) -> None:
        name = f"v{self._next}"
        self._next += 1
        kind = self._rng.choices(list(KINDS), [share for share, *_ in KINDS.values()])[0]
        at = min(at, self._graph.length_m[road] - 0.5)
        libsumo.route.add(name, self._graph.wander(road, _ROADS_PER_TRIP, self._rng))
        libsumo.vehicle.add(name, name, kind, departLane=str(lane), departPos=f"{at:.2f}", departSpeed="0")
        self._half[name] = KINDS[kind][1:]
        self._pending[name] = self._steps

    def after_step(self, ego_xy: tuple[float, float] | None) -> None:
        """Reads the step just made, subscribes to newcomers, replaces those that are gone or stuck.

        Args:
            ego_xy: Where the ego is; None when there is none yet.
        """
        self._steps += 1
        for name in libsumo.simulation.getDepartedIDList():
            if name in self._half:
                libsumo.vehicle.subscribe(name, _VARIABLES)
                self._pending.pop(name, None)
        for name in libsumo.simulation.getArrivedIDList():
            self._half.pop(name, None)
        for name in [name for name, since in self._pending.items() if self._steps - since > 20]:
            libsumo.vehicle.remove(name)
            del self._pending[name], self._half[name]
        self._read()
        if self._steps % _LOOK_EVERY == 0:
            self._clear_stuck(ego_xy)
        if len(self._half) < self.count:
            self._replace(ego_xy)

    def _read(self) -> None:
        results = libsumo.vehicle.getAllSubscriptionResults()
        count = len(results)
        raw = np.empty((count, 6))
        ids = np.empty(count, np.int64)
        for row, (name, values) in enumerate(results.items()):
            x, y = values[constants.VAR_POSITION]
            length, width = self._half[name]
            raw[row] = (x, y, values[constants.VAR_ANGLE], values[constants.VAR_SPEED], length, width)
            ids[row] = int(name[1:])
        order = np.argsort(ids)
        raw, ids = raw[order], ids[order]
        yaw = np.radians(90.0 - raw[:, 2])
        yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
        forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        centre = raw[:, :2] - raw[:, 4:5] * forward
        self._actors = Actors(ids, np.column_stack([centre, yaw]), raw[:, 4:6].copy(), raw[:, 3:4] * forward)

    def read(self) -> Actors:
        """Vehicles after the last step."""
        return self._actors

    def _distance(self, ego_xy: tuple[float, float] | None) -> Floats:
        if ego_xy is None:
            return np.full(len(self._actors), np.inf)
        return np.asarray(np.hypot(*(self._actors.pose[:, :2] - np.array(ego_xy)).T), np.float64)

    def _clear_stuck(self, ego_xy: tuple[float, float] | None) -> None:
        for number, distance in zip(self._actors.ids, self._distance(ego_xy), strict=True):
            name = f"v{number}"
            if distance > FAR_M and libsumo.vehicle.getWaitingTime(name) > _PATIENCE_S:
                self.remove(int(number))

    def remove(self, number: int) -> None:
        """Takes one vehicle off the road; a new one appears elsewhere later."""
        name = f"v{number}"
        libsumo.vehicle.unsubscribe(name)
        libsumo.vehicle.remove(name)
        self._half.pop(name, None)
        keep = self._actors.ids != number
        actors = self._actors
        self._actors = Actors(
            actors.ids[keep], actors.pose[keep], actors.half_extent[keep], actors.velocity[keep]
        )

    def _replace(self, ego_xy: tuple[float, float] | None) -> None:
        """Tries one free place far from the ego."""
        road, lane, at = self._place()
        name = f"{road}_{lane}"
        x, y = libsumo.simulation.convert2D(road, at, lane)
        if ego_xy is not None and math.hypot(x - ego_xy[0], y - ego_xy[1]) < FAR_M:
            return
        for other in libsumo.lane.getLastStepVehicleIDs(name):
            if abs(libsumo.vehicle.getLanePosition(other) - at) < 16.0:
                return
        self._add(road, lane, at)
