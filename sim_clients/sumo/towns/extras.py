"""What a SUMO net does not hold, as a JSON file next to it: stop signs, junction areas, plain crossings."""

from __future__ import annotations

import gzip
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from shapely.geometry import Polygon
from shapely.ops import unary_union

from sim_clients.sumo.towns.network import FIRST_JUNCTION_ID
from sim_clients.sumo.towns.plan import Kind, Town

BOX_CENTRE_M, BOX_HALF_LENGTH_M = 3.5, 3.0
"""The box lies 0.5 to 6.5 m before the end of the lane, where the centre of a car that waits there stands."""


def _points(shape: str | None) -> list[tuple[float, float]]:
    pairs = [point.split(",") for point in (shape or "").split()]
    return [(float(pair[0]), float(pair[1])) for pair in pairs]


def _stop_signs(root: ET.Element) -> list[dict[str, Any]]:
    """One for each driving lane that ends at an all-way stop."""
    lanes = {str(lane.get("id")): lane for lane in root.iter("lane")}
    signs = []
    for junction in root.iter("junction"):
        if junction.get("type") != "allway_stop":
            continue
        for lane_id in str(junction.get("incLanes")).split():
            lane = lanes[lane_id]
            if lane_id.startswith(":") or lane.get("allow") == "pedestrian":
                continue
            (x0, y0), (x1, y1) = _points(lane.get("shape"))[-2:]
            yaw = math.atan2(y1 - y0, x1 - x0)
            centre = [x1 - BOX_CENTRE_M * math.cos(yaw), y1 - BOX_CENTRE_M * math.sin(yaw)]
            signs.append(
                {
                    "id": f"stop:{lane_id}",
                    "lane_id": lane_id,
                    "centre": [round(value, 3) for value in centre],
                    "yaw_rad": round(yaw, 6),
                    "half_length_m": BOX_HALF_LENGTH_M,
                    "half_width_m": 0.45 * float(lane.get("width", "3.5")),
                }
            )
    return sorted(signs, key=lambda sign: str(sign["id"]))


def _junction_areas(root: ET.Element) -> list[list[list[float]]]:
    """Where cars drive at junctions: the junction without its pavements."""
    corners: dict[str, list[Polygon]] = {}
    for edge in root.iter("edge"):
        if edge.get("function") == "walkingarea":
            junction = str(edge.get("id"))[1:].rsplit("_", 1)[0]
            shape = _points(next(edge.iter("lane")).get("shape"))
            if len(shape) > 2:
                corners.setdefault(junction, []).append(Polygon(shape).buffer(0.01))
    areas = []
    for junction_element in root.iter("junction"):
        shape = _points(junction_element.get("shape"))
        if junction_element.get("type") == "internal" or len(shape) < 3:
            continue
        area = (
            Polygon(shape).buffer(0).difference(unary_union(corners.get(str(junction_element.get("id")), [])))
        )
        parts = getattr(area, "geoms", [area])
        areas += [
            [[round(x, 2), round(y, 2)] for x, y in part.exterior.coords[:-1]]
            for part in parts
            if part.area > 1.0
        ]
    return areas


def write(town: Town, net: Path, target: Path) -> None:
    """Writes the JSON file of a town."""
    root = ET.fromstring(gzip.decompress(net.read_bytes()))
    plain = [
        str(FIRST_JUNCTION_ID + number)
        for number, junction in enumerate(town.junctions.values())
        if junction.kind is Kind.ZEBRA
    ]
    content = {
        "stop_signs": _stop_signs(root),
        "plain_junctions": plain,
        "junction_areas": _junction_areas(root),
    }
    target.write_text(json.dumps(content) + "\n")
