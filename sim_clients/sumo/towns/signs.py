"""What a SUMO net does not hold: stop signs with their trigger boxes, as a JSON file next to the net."""

from __future__ import annotations

import gzip
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

BOX_CENTRE_M, BOX_HALF_LENGTH_M = 3.5, 3.0
"""The box lies 0.5 to 6.5 m before the end of the lane, where the centre of a car that waits there stands."""


def write(net: Path, target: Path) -> None:
    """Writes the stop signs of a net: one for each driving lane that ends at an all-way stop."""
    root = ET.fromstring(gzip.decompress(net.read_bytes()))
    lanes = {str(lane.get("id")): lane for lane in root.iter("lane")}
    signs = []
    for junction in root.iter("junction"):
        if junction.get("type") not in ("allway_stop", "priority_stop"):
            continue
        for lane_id in str(junction.get("incLanes")).split():
            lane = lanes[lane_id]
            if lane_id.startswith(":") or lane.get("allow") == "pedestrian":
                continue
            shape = [tuple(map(float, point.split(",")))[:2] for point in str(lane.get("shape")).split()]
            (x0, y0), (x1, y1) = shape[-2:]
            yaw = math.atan2(y1 - y0, x1 - x0)
            signs.append(
                {
                    "id": f"stop:{lane_id}",
                    "lane_id": lane_id,
                    "centre": [
                        round(x1 - BOX_CENTRE_M * math.cos(yaw), 3),
                        round(y1 - BOX_CENTRE_M * math.sin(yaw), 3),
                    ],
                    "yaw_rad": round(yaw, 6),
                    "half_length_m": BOX_HALF_LENGTH_M,
                    "half_width_m": 0.45 * float(lane.get("width", "3.5")),
                }
            )
    target.write_text(json.dumps({"stop_signs": sorted(signs, key=lambda sign: str(sign["id"]))}, indent=1) + "\n")
