"""Light programmes: one approach at a time, then the pedestrians.

As at CARLA's junctions, each approach has its own green, so that no turning vehicle meets oncoming traffic; all
crossings are green together while all vehicles wait.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zlib

GREEN_S, YELLOW_S, ALL_RED_S = 9, 3, 2
WALK_S = 5
WALKING_SPEED_MPS = 1.1


def _phases(links: dict[int, str], crossings: set[int], clearance_s: int) -> list[tuple[int, str]]:
    count = max([*links, *crossings]) + 1

    def state(green: set[int], letter: str) -> str:
        return "".join(letter if index in green else "r" for index in range(count))

    phases = []
    for approach in sorted(set(links.values())):
        own = {index for index, edge in links.items() if edge == approach}
        phases += [(GREEN_S, state(own, "G")), (YELLOW_S, state(own, "y")), (ALL_RED_S, state(set(), "r"))]
    if crossings:
        phases += [(WALK_S, state(crossings, "G")), (clearance_s, state(set(), "r"))]
    return phases


def write_programs(net: ET.ElementTree[ET.Element[str]]) -> None:
    """Replaces every light programme of a parsed net."""
    root = net.getroot()
    crossing_length = {
        str(edge.get("id")): max(float(lane.get("length", "0")) for lane in edge.iter("lane"))
        for edge in root.iter("edge")
        if edge.get("function") == "crossing"
    }
    for logic in root.findall("tlLogic"):
        name = str(logic.get("id"))
        links: dict[int, str] = {}
        crossings: set[int] = set()
        longest = 0.0
        for connection in root.iter("connection"):
            if connection.get("tl") != name:
                continue
            index = int(connection.get("linkIndex", "0"))
            if connection.get("to") in crossing_length:
                crossings.add(index)
                longest = max(longest, crossing_length[str(connection.get("to"))])
            else:
                links[index] = str(connection.get("from"))
        phases = _phases(links, crossings, round(longest / WALKING_SPEED_MPS))
        for phase in list(logic):
            logic.remove(phase)
        cycle = sum(duration for duration, _ in phases)
        logic.set("type", "static")
        logic.set("offset", str(zlib.crc32(name.encode()) % cycle))
        for duration, state in phases:
            ET.SubElement(logic, "phase", duration=str(duration), state=state)
