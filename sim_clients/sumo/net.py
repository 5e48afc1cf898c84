"""Reads a SUMO net: edges, lanes, connections, lights. Plain data, no arithmetic beyond parsing."""

from __future__ import annotations

import gzip
import hashlib
import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sim_clients.scene import Floats
from sim_clients.simulator import SimulatorError

DATA = Path(__file__).parent / "towns" / "data"


def towns() -> list[str]:
    """Names of the towns that ship with the package."""
    return sorted(path.name.removesuffix(".net.xml.gz") for path in DATA.glob("*.net.xml.gz"))


@dataclass(frozen=True)
class NetLane:
    """A lane as the net has it. Attributes as in the file; ``pavement`` is True for pedestrians' lanes.

    ``length_m`` is what SUMO counts positions by; on curves it differs from the length of ``shape``.
    """

    id: str
    edge: str
    index: int
    function: str
    shape: Floats
    width_m: float
    length_m: float
    limit_mps: float
    pavement: bool


@dataclass(frozen=True)
class Link:
    """A connection between lanes. ``light`` and ``light_index`` are set where a light controls it."""

    begin: str
    end: str
    via: str | None
    light: str | None
    light_index: int


@dataclass(frozen=True)
class Net:
    """A parsed net.

    Attributes:
        name: Town.
        path: The ``.net.xml.gz`` file.
        sha256: Hash of the net and of the JSON file next to it.
        lanes: Lanes by id, internal ones, crossings and walking areas included.
        links: Connections in file order.
        programs: (duration in s, state string) of each phase, by light.
        extras: Content of the JSON file: stop signs, plain junctions, junction areas.
    """

    name: str
    path: Path
    sha256: str
    lanes: dict[str, NetLane]
    links: tuple[Link, ...]
    programs: dict[str, tuple[tuple[float, str], ...]]
    extras: dict[str, Any]


def _shape(text: str) -> Floats:
    return np.array([[float(value) for value in point.split(",")[:2]] for point in text.split()])


@lru_cache(maxsize=4)
def read_net(town: str) -> Net:
    """Reads a town.

    Raises:
        SimulatorError: There is no such town.
    """
    if town not in towns():
        raise SimulatorError(f"unknown town {town!r}; SUMO towns are: {', '.join(towns())}")
    path = DATA / f"{town}.net.xml.gz"
    text, extras = gzip.decompress(path.read_bytes()), (DATA / f"{town}.json").read_bytes()
    root = ET.fromstring(text)
    lanes = {}
    for edge in root.iter("edge"):
        for lane in edge.iter("lane"):
            lanes[lane.attrib["id"]] = NetLane(
                id=lane.attrib["id"],
                edge=edge.attrib["id"],
                index=int(lane.attrib["index"]),
                function=edge.get("function", "normal"),
                shape=_shape(lane.attrib["shape"]),
                width_m=float(lane.get("width", "3.2")),
                length_m=float(lane.attrib["length"]),
                limit_mps=float(lane.attrib["speed"]),
                pavement=lane.get("allow") == "pedestrian",
            )
    links = tuple(
        Link(
            begin=f"{item.attrib['from']}_{item.attrib['fromLane']}",
            end=f"{item.attrib['to']}_{item.attrib['toLane']}",
            via=item.get("via"),
            light=item.get("tl"),
            light_index=int(item.get("linkIndex", "-1")),
        )
        for item in root.iter("connection")
    )
    programs = {
        logic.attrib["id"]: tuple(
            (float(phase.attrib["duration"]), phase.attrib["state"]) for phase in logic.iter("phase")
        )
        for logic in root.iter("tlLogic")
    }
    digest = hashlib.sha256(text + extras).hexdigest()
    return Net(town, path, digest, lanes, links, programs, json.loads(extras))
