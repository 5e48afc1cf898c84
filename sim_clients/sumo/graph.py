"""Which roads follow which: for routes of the ego, of the traffic and of pedestrians."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import numpy as np

from sim_clients.scene import SceneMap
from sim_clients.sumo.net import Net


@dataclass(frozen=True)
class Passage:
    """A way through a junction. Attributes: lane_in; internal lanes on the way; lane_out."""

    lane_in: str
    inner: tuple[str, ...]
    lane_out: str


@dataclass
class RoadGraph:
    """Roads (SUMO edges), their lanes, and the passages between them.

    Attributes:
        lanes: Lane ids of each road, rightmost first.
        length_m: Length of each road; a position up to it exists on all its lanes.
        passages: For each road, the roads that follow it and the ways to get there.
        signalised: Roads that end at a light.
    """

    lanes: dict[str, list[str]] = field(default_factory=dict)
    length_m: dict[str, float] = field(default_factory=dict)
    passages: dict[str, dict[str, list[Passage]]] = field(default_factory=dict)
    signalised: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, net: Net, scene_map: SceneMap) -> RoadGraph:
        """Builds the graph of a map."""
        graph = cls()
        for name, lane in scene_map.lanes.items():
            if name.startswith(":"):
                continue
            road = net.lanes[name].edge
            graph.lanes.setdefault(road, []).append(name)
            drawn = float(np.linalg.norm(np.diff(lane.centre, axis=0), axis=1).sum())
            graph.length_m[road] = min(drawn, net.lanes[name].length_m, graph.length_m.get(road, drawn))
            graph.passages.setdefault(road, {})
        for names in graph.lanes.values():
            names.sort(key=lambda name: net.lanes[name].index)
        for road, names in graph.lanes.items():
            for name in names:
                for first in scene_map.lanes[name].successors:
                    inner, onto = [], first
                    while onto.startswith(":"):
                        inner.append(onto)
                        onto = scene_map.lanes[onto].successors[0]
                    after = net.lanes[onto].edge
                    passage = Passage(name, tuple(inner), onto)
                    graph.passages[road].setdefault(after, []).append(passage)
        graph.signalised = {net.lanes[line.lane_id].edge for line in scene_map.stop_lines}
        return graph

    def shortest(self, begin: str, end: str, rng: random.Random) -> list[str] | None:
        """Shortest way between two roads under randomly stretched lengths, so that ways differ; None: no way."""
        stretch = {road: rng.uniform(1.0, 2.0) for road in self.lanes}
        queue: list[tuple[float, str]] = [(0.0, begin)]
        before: dict[str, str | None] = {begin: None}
        best = {begin: 0.0}
        while queue:
            cost, road = heapq.heappop(queue)
            if road == end and cost > 0:
                break
            if cost > best[road]:
                continue
            for after in self.passages[road]:
                total = cost + stretch[after] * (self.length_m[after] + 20.0)
                if total < best.get(after, float("inf")):
                    best[after], before[after] = total, road
                    heapq.heappush(queue, (total, after))
        if end not in before or begin == end:
            return None
        path, at = [], end
        while True:
            path.append(at)
            previous = before[at]
            if previous is None:
                return path[::-1]
            at = previous

    def wander(self, begin: str, count: int, rng: random.Random) -> list[str]:
        """A random way of ``count`` roads."""
        path = [begin]
        while len(path) < count:
            path.append(rng.choice(sorted(self.passages[path[-1]])))
        return path


@dataclass
class FootGraph:
    """Where pedestrians can go. A corner is a SUMO walking area: pavements meet there, crossings begin there.

    Attributes:
        pavements: Roads with a pavement.
        length_m: Length of each pavement.
        corners: The corners at the two ends of each pavement.
        roads_at: Roads whose pavement ends at each corner.
        across: Corners on the other side of a crossing, for each corner.
    """

    pavements: list[str]
    length_m: dict[str, float]
    corners: dict[str, list[str]]
    roads_at: dict[str, list[str]]
    across: dict[str, list[str]]

    @classmethod
    def of(cls, net: Net) -> FootGraph:
        """Builds the graph of a net."""
        lengths = {
            lane.edge: lane.length_m
            for lane in net.lanes.values()
            if lane.pavement and lane.function == "normal"
        }
        corners: dict[str, set[str]] = {}
        roads_at: dict[str, set[str]] = {}
        sides: dict[str, set[str]] = {}
        for link in net.links:
            begin, end = link.begin.rsplit("_", 1)[0], link.end.rsplit("_", 1)[0]
            for one, other in ((begin, end), (end, begin)):
                if "_w" not in other:
                    continue
                if one in lengths:
                    corners.setdefault(one, set()).add(other)
                    roads_at.setdefault(other, set()).add(one)
                elif "_c" in one:
                    sides.setdefault(one, set()).add(other)
        across: dict[str, set[str]] = {}
        for pair in sides.values():
            for corner in pair:
                across.setdefault(corner, set()).update(pair - {corner})
        return cls(
            pavements=sorted(corners),
            length_m=lengths,
            corners={road: sorted(values) for road, values in corners.items()},
            roads_at={corner: sorted(values) for corner, values in roads_at.items()},
            across={corner: sorted(values) for corner, values in across.items()},
        )

    def wander(self, begin: str, count: int, crossing_share: float, rng: random.Random) -> list[str]:
        """A random walk of ``count`` roads that crosses a road at about ``crossing_share`` of the corners."""
        path, corner = [begin], rng.choice(self.corners[begin])
        while len(path) < count:
            here = corner
            if self.across.get(corner) and rng.random() < crossing_share:
                here = rng.choice(self.across[corner])
            options = [road for road in self.roads_at[here] if road != path[-1]]
            if not options:
                here = rng.choice(self.across.get(corner, [corner]))
                options = [road for road in self.roads_at[here] if road != path[-1]]
            if not options:
                break
            path.append(rng.choice(options))
            corner = next((other for other in self.corners[path[-1]] if other != here), here)
        return path
