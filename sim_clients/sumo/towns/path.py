"""Curves of lines and arcs: the only two shapes that every OpenDRIVE reader computes alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]


class Piece(NamedTuple):
    """A line (curvature 0) or an arc. Attributes: start x, y; heading in radians; length in m; curvature in 1/m."""

    x: float
    y: float
    heading: float
    length: float
    curvature: float

    def at(self, s: float) -> tuple[float, float, float]:
        """Returns x, y and heading after ``s`` metres."""
        if abs(self.curvature) < 1e-9:
            return self.x + s * math.cos(self.heading), self.y + s * math.sin(self.heading), self.heading
        end = self.heading + s * self.curvature
        return (
            self.x + (math.sin(end) - math.sin(self.heading)) / self.curvature,
            self.y - (math.cos(end) - math.cos(self.heading)) / self.curvature,
            end,
        )


class Pose(NamedTuple):
    """Position and heading."""

    x: float
    y: float
    heading: float

    def shifted(self, left: float) -> Pose:
        """Returns the pose ``left`` metres to the left."""
        return Pose(
            self.x - left * math.sin(self.heading), self.y + left * math.cos(self.heading), self.heading
        )

    def reversed(self) -> Pose:
        """Returns the pose that looks the other way."""
        return Pose(self.x, self.y, self.heading + math.pi)


def wrap(angle: float) -> float:
    """Wraps an angle to -pi..pi."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def fillet(points: Sequence[Point], radii: Sequence[float]) -> list[Piece]:
    """Rounds a polyline: each inner vertex becomes an arc of the given radius."""
    pieces: list[Piece] = []
    start = points[0]
    for index in range(1, len(points)):
        corner = points[index]
        heading = math.atan2(corner[1] - start[1], corner[0] - start[0])
        length = math.dist(start, corner)
        if index == len(points) - 1:
            pieces.append(Piece(start[0], start[1], heading, length, 0.0))
            break
        after = points[index + 1]
        turn = wrap(math.atan2(after[1] - corner[1], after[0] - corner[0]) - heading)
        radius = radii[index - 1]
        cut = radius * math.tan(abs(turn) / 2)
        pieces.append(Piece(start[0], start[1], heading, length - cut, 0.0))
        x, y, _ = pieces[-1].at(length - cut)
        pieces.append(Piece(x, y, heading, radius * abs(turn), math.copysign(1 / radius, turn)))
        x, y, _ = pieces[-1].at(pieces[-1].length)
        start = (x, y)
    if any(piece.length < 0 for piece in pieces):
        raise ValueError(f"a radius is too large for the polyline {points}")
    return pieces


def trimmed(pieces: Sequence[Piece], begin: float, end: float) -> list[Piece]:
    """Cuts ``begin`` metres off the start and ``end`` metres off the end."""
    total = sum(piece.length for piece in pieces)
    low, high = begin, total - end
    if high - low < 5.0:
        raise ValueError("a road is too short for its junctions")
    kept, s = [], 0.0
    for piece in pieces:
        first, last = max(low - s, 0.0), min(high - s, piece.length)
        if last - first > 1e-6:
            x, y, heading = piece.at(first)
            kept.append(Piece(x, y, heading, last - first, piece.curvature))
        s += piece.length
    return kept


def _circle_to(pose: Pose, target: Point) -> Piece:
    """The arc (or line) that leaves ``pose`` along its heading and ends in ``target``."""
    dx, dy = target[0] - pose.x, target[1] - pose.y
    chord = math.hypot(dx, dy)
    angle = wrap(math.atan2(dy, dx) - pose.heading)
    if abs(angle) < 1e-9:
        return Piece(pose.x, pose.y, pose.heading, chord, 0.0)
    curvature = 2 * math.sin(angle) / chord
    return Piece(pose.x, pose.y, pose.heading, 2 * angle / curvature, curvature)


def connect(begin: Pose, end: Pose) -> list[Piece]:
    """Joins two poses smoothly: line and arc where their rays meet ahead, else two arcs (an S)."""
    ux, uy = math.cos(begin.heading), math.sin(begin.heading)
    vx, vy = math.cos(end.heading), math.sin(end.heading)
    dx, dy = end.x - begin.x, end.y - begin.y
    cross = ux * vy - uy * vx
    if abs(cross) > 1e-3:
        ahead = (dx * vy - dy * vx) / cross
        back = (dx * uy - dy * ux) / cross
        before = -back
        if ahead > 0.5 and before > 0.5:
            reach = min(ahead, before)
            turn = wrap(end.heading - begin.heading)
            radius = reach / math.tan(abs(turn) / 2)
            pieces = []
            if ahead - reach > 1e-6:
                pieces.append(Piece(begin.x, begin.y, begin.heading, ahead - reach, 0.0))
            x, y = begin.x + (ahead - reach) * ux, begin.y + (ahead - reach) * uy
            pieces.append(Piece(x, y, begin.heading, radius * abs(turn), math.copysign(1 / radius, turn)))
            if before - reach > 1e-6:
                x, y, heading = pieces[-1].at(pieces[-1].length)
                pieces.append(Piece(x, y, heading, before - reach, 0.0))
            return pieces
    if abs(dx * uy - dy * ux) < 1e-6 and abs(wrap(end.heading - begin.heading)) < 1e-6:
        return [Piece(begin.x, begin.y, begin.heading, math.hypot(dx, dy), 0.0)]
    return _two_arcs(begin, end)


def _two_arcs(begin: Pose, end: Pose) -> list[Piece]:
    """A biarc with equal tangent lengths (the standard construction)."""
    ux, uy = math.cos(begin.heading), math.sin(begin.heading)
    vx, vy = math.cos(end.heading), math.sin(end.heading)
    dx, dy = end.x - begin.x, end.y - begin.y
    along = dx * (ux + vx) + dy * (uy + vy)
    a = 2 * (1 - (ux * vx + uy * vy))
    square = dx * dx + dy * dy
    if a < 1e-9:
        reach = square / (2 * along)
    else:
        reach = (-along + math.sqrt(along * along + a * square)) / a
    middle = (
        (begin.x + ux * reach + end.x - vx * reach) / 2,
        (begin.y + uy * reach + end.y - vy * reach) / 2,
    )
    first = _circle_to(begin, middle)
    x, y, heading = first.at(first.length)
    return [first, _circle_to(Pose(x, y, heading), (end.x, end.y))]
