"""The plan of a town: junctions and the roads between them, before any file format."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from sim_clients.sumo.towns.path import Piece, Point, Pose, fillet, trimmed, wrap

LANE_WIDTH_M = 3.5
PAVEMENT_WIDTH_M = 2.5
CROSSING_WIDTH_M = 3.0
LIMIT_MPS = 8.33
"""30 km/h; roads with two lanes a direction allow 50."""


class Kind(Enum):
    """How right of way is settled at a junction."""

    SIGNAL = "signal"
    STOP = "stop"
    ROUNDABOUT = "roundabout"
    ZEBRA = "zebra"


@dataclass(frozen=True)
class Junction:
    """A junction. Attributes: name; centre; kind; crossings: True paints a crossing over every arm with pavements."""

    name: str
    centre: Point
    kind: Kind
    crossings: bool = True


@dataclass(frozen=True)
class Road:
    """A road between two junctions.

    Attributes:
        name: Unique name.
        begin, end: Junction names.
        via: Vertices on the way, rounded with ``radii``.
        radii: One radius for each vertex, in m.
        lanes: Lanes in each direction.
        one_way: True: lanes only from begin to end.
        pieces: Explicit geometry from centre to centre (roundabouts); None: straight through ``via``.
    """

    name: str
    begin: str
    end: str
    via: tuple[Point, ...] = ()
    radii: tuple[float, ...] = ()
    lanes: int = 1
    one_way: bool = False
    pieces: tuple[Piece, ...] | None = None

    @property
    def limit_mps(self) -> float:
        """Speed limit."""
        return 13.89 if self.lanes > 1 else LIMIT_MPS


@dataclass(frozen=True)
class Arm:
    """One end of a road at a junction.

    Attributes:
        road: The road.
        at_end: True when it is the end of the road, False when it is its beginning.
        out: Pose at the centre of the junction, looking away from it along the road.
    """

    road: Road
    at_end: bool
    out: Pose

    @property
    def left_width(self) -> float:
        """Half width to the left when looking away from the junction."""
        return self._width(self.at_end)

    @property
    def right_width(self) -> float:
        """Half width to the right when looking away from the junction."""
        return self._width(not self.at_end)

    def _width(self, forward_side: bool) -> float:
        if self.road.one_way and not forward_side:
            return 0.0
        return self.road.lanes * LANE_WIDTH_M + PAVEMENT_WIDTH_M

    @property
    def enters(self) -> bool:
        """True when traffic comes from this arm into the junction."""
        return self.at_end or not self.road.one_way

    @property
    def leaves(self) -> bool:
        """True when traffic leaves the junction through this arm."""
        return not self.at_end or not self.road.one_way


@dataclass
class Town:
    """A town plan; ``arms`` and ``geometry`` follow from junctions and roads."""

    name: str
    junctions: dict[str, Junction] = field(default_factory=dict)
    roads: dict[str, Road] = field(default_factory=dict)

    def junction(self, name: str, x: float, y: float, kind: Kind, crossings: bool = True) -> None:
        """Adds a junction."""
        self.junctions[name] = Junction(name, (x, y), kind, crossings)

    def road(
        self, begin: str, end: str, *via: tuple[float, float, float], lanes: int = 1, name: str | None = None
    ) -> None:
        """Adds a road; ``via`` are (x, y, radius)."""
        name = name or f"{begin}-{end}"
        points = tuple((x, y) for x, y, _ in via)
        self.roads[name] = Road(name, begin, end, points, tuple(r for *_, r in via), lanes)

    def roundabout(
        self, name: str, x: float, y: float, radius: float, bearings_deg: dict[str, float]
    ) -> None:
        """Adds a one-lane roundabout: a ring of junctions ``name.key`` at the given bearings, driven counter-clockwise.

        ``radius`` is that of the ring's left edge; the lane centre lies half a lane further out.
        """
        order = sorted(bearings_deg.items(), key=lambda item: item[1])
        for key, bearing in order:
            angle = math.radians(bearing)
            centre = (x + radius * math.cos(angle), y + radius * math.sin(angle))
            self.junctions[f"{name}.{key}"] = Junction(f"{name}.{key}", centre, Kind.ROUNDABOUT)
        for (key, bearing), (after, next_bearing) in zip(order, order[1:] + order[:1], strict=True):
            sweep = math.radians((next_bearing - bearing) % 360)
            angle = math.radians(bearing)
            piece = Piece(
                x + radius * math.cos(angle),
                y + radius * math.sin(angle),
                angle + math.pi / 2,
                radius * sweep,
                1 / radius,
            )
            road = f"{name}.{key}-{after}"
            self.roads[road] = Road(road, f"{name}.{key}", f"{name}.{after}", one_way=True, pieces=(piece,))

    def centreline(self, road: Road) -> list[Piece]:
        """Geometry of a road from junction centre to junction centre."""
        if road.pieces is not None:
            return list(road.pieces)
        points = [self.junctions[road.begin].centre, *road.via, self.junctions[road.end].centre]
        return fillet(points, road.radii)

    def arms(self, junction: Junction) -> list[Arm]:
        """Arms of a junction with poses at its centre, counter-clockwise."""
        arms = []
        for road in self.roads.values():
            pieces = self.centreline(road)
            if road.begin == junction.name:
                arms.append(Arm(road, False, Pose(*pieces[0][:3])))
            if road.end == junction.name:
                arms.append(Arm(road, True, Pose(*pieces[-1].at(pieces[-1].length)).reversed()))
        return sorted(arms, key=lambda arm: arm.out.heading % (2 * math.pi))

    def cut(self, junction: Junction) -> float:
        """How far from the centre the roads end: room for the corners and the crossings."""
        if junction.kind is Kind.ZEBRA:
            return 3.5
        if junction.kind is Kind.ROUNDABOUT:
            return 11.0
        arms = self.arms(junction)
        reach = 8.0
        for arm, after in zip(arms, arms[1:] + arms[:1], strict=True):
            angle = wrap(after.out.heading - arm.out.heading) % (2 * math.pi)
            if not 0.3 < angle < 2.6:
                continue
            for own, other in ((arm.left_width, after.right_width), (after.right_width, arm.left_width)):
                reach = max(reach, (other + own * math.cos(angle)) / math.sin(angle))
        return reach + 5.0

    def geometry(self, road: Road) -> list[Piece]:
        """Geometry of a road without its junctions."""
        begin, end = self.junctions[road.begin], self.junctions[road.end]
        return trimmed(self.centreline(road), self.cut(begin), self.cut(end))
