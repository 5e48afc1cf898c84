"""Builds a SUMO net from a town's OpenDRIVE file with ``netconvert``.

Two passes: OpenDRIVE to plain XML, a patch, plain XML to net. The patch says what netconvert cannot read from
OpenDRIVE: that pavements are for pedestrians only (left open to cars, they make person trips fail with
"Invalid arrivalPos"), speed limits, crossings, and which junctions have stop signs.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from sim_clients.sumo.towns.lights import write_programs
from sim_clients.sumo.towns.plan import CROSSING_WIDTH_M, Kind, Town

FIRST_JUNCTION_ID = 1000


def _netconvert(*arguments: str) -> None:
    program = shutil.which(
        "netconvert", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if program is None:
        raise FileNotFoundError("netconvert not found: pip install eclipse-sumo (needed to build towns only)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"netconvert failed: {done.stderr.strip()}")


def _patch_edges(path: Path) -> None:
    tree = ET.parse(path)
    for edge in tree.getroot().iter("edge"):
        driving = [lane for lane in edge.iter("lane") if lane.get("type") == "driving"]
        edge.set("speed", "13.89" if len(driving) > 1 else "8.33")
        for lane in edge.iter("lane"):
            lane.attrib.pop("disallow", None)
            lane.set(
                "allow", "pedestrian" if lane.get("type") == "sidewalk" else "passenger delivery truck bus"
            )
    tree.write(path)


def _patch_nodes(path: Path, town: Town) -> None:
    kinds = {Kind.STOP: "allway_stop", Kind.ROUNDABOUT: "priority", Kind.ZEBRA: "priority"}
    tree = ET.parse(path)
    for node in tree.getroot().iter("node"):
        junction = list(town.junctions.values())[int(node.get("id", "")) - FIRST_JUNCTION_ID]
        if junction.kind in kinds:
            node.set("type", kinds[junction.kind])
            node.attrib.pop("tl", None)
        else:
            node.set("type", "traffic_light")
            node.set("tl", str(node.get("id")))
    tree.write(path)


def _patch_connections(path: Path, town: Town) -> None:
    tree = ET.parse(path)
    root = tree.getroot()
    for crossing in root.findall("crossing"):
        root.remove(crossing)
    road_ids = {name: index + 1 for index, name in enumerate(town.roads)}
    for number, junction in enumerate(town.junctions.values()):
        if not junction.crossings:
            continue
        arms = [arm for arm in town.arms(junction) if not arm.road.one_way]
        if junction.kind is Kind.ZEBRA:
            arms = arms[:1]
        for arm in arms:
            road = road_ids[arm.road.name]
            attributes = {
                "node": str(FIRST_JUNCTION_ID + number),
                "edges": f"{-road} {road}",
                "priority": "1",
                "width": str(CROSSING_WIDTH_M),
            }
            ET.SubElement(root, "crossing", attributes)
    tree.write(path)


def build(town: Town, xodr: Path, target: Path) -> None:
    """Builds ``target`` (``.net.xml.gz``) from an OpenDRIVE file that ``opendrive.write`` made of the same plan."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        net = Path(folder) / "town.net.xml"
        _netconvert(
            "--opendrive-files", str(xodr),
            "--opendrive.internal-shapes", "true",
            "--opendrive.import-all-lanes", "true",
            "--opendrive.curve-resolution", "1",
            "--offset.disable-normalization", "true",
            "--no-turnarounds", "true",
            "--plain-output-prefix", str(plain),
        )  # fmt: skip
        _patch_edges(plain.with_suffix(".edg.xml"))
        _patch_nodes(plain.with_suffix(".nod.xml"), town)
        _patch_connections(plain.with_suffix(".con.xml"), town)
        _netconvert(
            "--node-files", str(plain.with_suffix(".nod.xml")),
            "--edge-files", str(plain.with_suffix(".edg.xml")),
            "--connection-files", str(plain.with_suffix(".con.xml")),
            "--offset.disable-normalization", "true",
            "--no-turnarounds", "true",
            "--walkingareas", "true",
            "--roundabouts.guess", "true",
            "--tls.ignore-internal-junction-jam", "true",
            "--output.street-names", "false",
            "--output-file", str(net),
        )  # fmt: skip
        tree = ET.parse(net)
        write_programs(tree)
        data = ET.tostring(tree.getroot(), encoding="utf-8")
    with target.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as out:
        out.write(data)
