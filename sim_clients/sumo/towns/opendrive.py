"""Writes a town plan as OpenDRIVE with ``scenariogeneration``."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from scenariogeneration import xodr

from sim_clients.sumo.towns.path import Piece, Pose, connect, wrap
from sim_clients.sumo.towns.plan import (
    CROSSING_WIDTH_M,
    LANE_WIDTH_M,
    PAVEMENT_WIDTH_M,
    Arm,
    Junction,
    Kind,
    Road,
    Town,
)

SIGNAL_TYPE, STOP_TYPE = "1000001", "206"


@dataclass(frozen=True)
class Turn:
    """A way through a junction, from a lane of one arm to a lane of another; lanes count from the right."""

    begin: Arm
    lane_in: int
    end: Arm
    lane_out: int


def direction(begin: Arm, end: Arm) -> str:
    """Returns "left", "right" or "straight" for the way from one arm to another."""
    turn = wrap(end.out.heading - begin.out.heading - math.pi)
    if abs(turn) < math.radians(40):
        return "straight"
    return "left" if turn > 0 else "right"


def turns(arms: list[Arm]) -> list[Turn]:
    """All ways through a junction: right from the right lane, left from the left one, straight lane by lane."""
    result = []
    for begin in arms:
        if not begin.enters:
            continue
        for end in arms:
            if end is begin or not end.leaves:
                continue
            lanes_in, lanes_out = begin.road.lanes, end.road.lanes
            way = direction(begin, end)
            if way == "right":
                result.append(Turn(begin, 0, end, 0))
            elif way == "left":
                result.append(Turn(begin, lanes_in - 1, end, lanes_out - 1))
            else:
                result += [Turn(begin, lane, end, lane) for lane in range(min(lanes_in, lanes_out))]
    return result


def _lane_pose(arm: Arm, cut_pose: Pose, lane: int, entering: bool) -> Pose:
    """Pose of a lane centre where the arm meets the junction; ``cut_pose`` looks away from the junction."""
    left = (arm.road.lanes - 0.5 - lane) * LANE_WIDTH_M
    return cut_pose.shifted(left).reversed() if entering else cut_pose.shifted(-left)


def _planview(pieces: list[Piece]) -> xodr.PlanView:
    view = xodr.PlanView()
    for piece in pieces:
        shape = (
            xodr.Line(piece.length)
            if abs(piece.curvature) < 1e-9
            else xodr.Arc(piece.curvature, length=piece.length)
        )
        view.add_fixed_geometry(shape, piece.x, piece.y, piece.heading)
    return view


def _mark(broken: bool) -> xodr.RoadMark:
    kind = xodr.RoadMarkType.broken if broken else xodr.RoadMarkType.solid
    return xodr.RoadMark(kind, width=0.15, color=xodr.RoadMarkColor.white)


def _road_lanes(road: Road) -> xodr.Lanes:
    centre = xodr.Lane(lane_type=xodr.LaneType.none)
    centre.add_roadmark(_mark(False))
    section = xodr.LaneSection(0, centre)
    adders = [section.add_right_lane] if road.one_way else [section.add_right_lane, section.add_left_lane]
    for add in adders:
        for index in range(road.lanes):
            lane = xodr.Lane(lane_type=xodr.LaneType.driving, a=LANE_WIDTH_M)
            lane.add_roadmark(_mark(index < road.lanes - 1))
            add(lane)
        add(xodr.Lane(lane_type=xodr.LaneType.sidewalk, a=PAVEMENT_WIDTH_M))
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    return lanes


class _Writer:
    """Numbers and writes the parts of one town."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.odr = xodr.OpenDrive(town.name)
        self.road_ids = {name: index + 1 for index, name in enumerate(town.roads)}
        self.junction_ids = {name: 1000 + index for index, name in enumerate(town.junctions)}
        self.views = {name: _planview(town.geometry(road)) for name, road in town.roads.items()}
        self.pieces = {name: town.geometry(road) for name, road in town.roads.items()}
        self.next_connector = 2000

    def roads(self) -> None:
        for name, road in self.town.roads.items():
            out = xodr.Road(self.road_ids[name], self.views[name], _road_lanes(road), name=name)
            out.add_predecessor(xodr.ElementType.junction, self.junction_ids[road.begin])
            out.add_successor(xodr.ElementType.junction, self.junction_ids[road.end])
            out.add_type(xodr.RoadType.town, 0, "DE", speed=road.limit_mps, speed_unit="m/s")
            self._signs(out, road)
            self._crossings(out, road)
            self.odr.add_road(out)

    def _signs(self, out: xodr.Road, road: Road) -> None:
        length = sum(piece.length for piece in self.pieces[road.name])
        ends = [(self.town.junctions[road.end], length, xodr.Orientation.positive, -1)]
        if not road.one_way:
            ends.append((self.town.junctions[road.begin], 0.0, xodr.Orientation.negative, 1))
        for junction, s, orientation, side in ends:
            if junction.kind not in (Kind.SIGNAL, Kind.STOP):
                continue
            signal = xodr.Signal(
                s=s,
                t=side * (road.lanes * LANE_WIDTH_M + 1.0),
                country="OpenDRIVE",
                Type=SIGNAL_TYPE if junction.kind is Kind.SIGNAL else STOP_TYPE,
                name=f"{junction.name}:{road.name}",
                dynamic=xodr.Dynamic.yes if junction.kind is Kind.SIGNAL else xodr.Dynamic.no,
                orientation=orientation,
                zOffset=3.0,
            )
            signal.add_validity(*((-road.lanes, -1) if side < 0 else (1, road.lanes)))
            out.add_signal(signal)

    def _crossings(self, out: xodr.Road, road: Road) -> None:
        """Crossings lie just beyond the end of a road, inside the junction."""
        length = sum(piece.length for piece in self.pieces[road.name])
        half = road.lanes * LANE_WIDTH_M
        for junction, s, side in (
            (self.town.junctions[road.end], length, 1.0),
            (self.town.junctions[road.begin], 0.0, -1.0),
        ):
            first = self.town.arms(junction)[0]
            zebra_is_elsewhere = junction.kind is Kind.ZEBRA and first.road.name != road.name
            if road.one_way or not junction.crossings or zebra_is_elsewhere:
                continue
            outline = xodr.Outline(closed=True)
            for u, v in ((0.0, -half), (CROSSING_WIDTH_M, -half), (CROSSING_WIDTH_M, half), (0.0, half)):
                outline.add_corner(xodr.CornerLocal(side * u, side * v, 0.0, 0.0))
            crossing = xodr.Object(
                s=s,
                t=0.0,
                Type=xodr.ObjectType.crosswalk,
                orientation=xodr.Orientation.none,
                width=2 * half,
                length=CROSSING_WIDTH_M,
            )
            crossing.add_outline(outline)
            out.add_object(crossing)

    def _cut_pose(self, arm: Arm) -> Pose:
        pieces = self.pieces[arm.road.name]
        if not arm.at_end:
            return Pose(*pieces[0][:3])
        return Pose(*pieces[-1].at(pieces[-1].length)).reversed()

    def junction(self, junction: Junction) -> None:
        number = self.junction_ids[junction.name]
        out = xodr.Junction(junction.name, number)
        for turn in turns(self.town.arms(junction)):
            begin = _lane_pose(turn.begin, self._cut_pose(turn.begin), turn.lane_in, True)
            end = _lane_pose(turn.end, self._cut_pose(turn.end), turn.lane_out, False)
            # The reference line is the left edge of the one lane.
            half = LANE_WIDTH_M / 2
            pieces = connect(begin.shifted(half), end.shifted(half))
            self._connector(out, number, turn, pieces)
        self.odr.add_junction(out)

    def _connector(self, out: xodr.Junction, number: int, turn: Turn, pieces: list[Piece]) -> None:
        in_lane = self._lane_id(turn.begin, turn.lane_in, entering=True)
        out_lane = self._lane_id(turn.end, turn.lane_out, entering=False)
        section = xodr.LaneSection(0, xodr.Lane(lane_type=xodr.LaneType.none))
        lane = xodr.Lane(lane_type=xodr.LaneType.driving, a=LANE_WIDTH_M)
        lane.add_link("predecessor", str(in_lane))
        lane.add_link("successor", str(out_lane))
        section.add_right_lane(lane)
        lanes = xodr.Lanes()
        lanes.add_lanesection(section)
        road = xodr.Road(self.next_connector, _planview(pieces), lanes, road_type=number)
        self.next_connector += 1
        begin_point = xodr.ContactPoint.end if turn.begin.at_end else xodr.ContactPoint.start
        end_point = xodr.ContactPoint.end if turn.end.at_end else xodr.ContactPoint.start
        road.add_predecessor(xodr.ElementType.road, self.road_ids[turn.begin.road.name], begin_point)
        road.add_successor(xodr.ElementType.road, self.road_ids[turn.end.road.name], end_point)
        self.odr.add_road(road)
        connection = xodr.Connection(self.road_ids[turn.begin.road.name], road.id, xodr.ContactPoint.start)
        connection.add_lanelink(in_lane, -1)
        out.add_connection(connection)

    @staticmethod
    def _lane_id(arm: Arm, lane: int, entering: bool) -> int:
        forward = arm.at_end if entering else not arm.at_end
        number = arm.road.lanes - lane
        return -number if forward else number


def write(town: Town, path: Path) -> None:
    """Writes the town as OpenDRIVE; the same plan gives the same bytes."""
    writer = _Writer(town)
    writer.roads()
    for junction in town.junctions.values():
        writer.junction(junction)
    root = writer.odr.get_element()
    header = root.find("header")
    assert header is not None
    header.set("date", "2026-01-01T00:00:00")
    for tag in ("signal", "object"):
        for number, element in enumerate(root.iter(tag), start=1):
            element.set("id", str(number))
    for crossing in root.iter("object"):
        outlines = crossing.find("outlines")
        if outlines is not None:  # CARLA reads the form of OpenDRIVE 1.4
            crossing.remove(outlines)
            crossing.extend(outlines)
    ET.indent(root)
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
