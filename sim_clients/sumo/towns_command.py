"""``codriver towns``: what there is to drive in."""

from __future__ import annotations

import argparse
import json
import sys

from sim_clients.sumo.graph import RoadGraph
from sim_clients.sumo.net import read_net, towns
from sim_clients.sumo.scene_map import read_map


def describe(town: str) -> dict[str, float | int | str]:
    """Returns a town's figures: lane length in km, and counts of what stands and lies in it."""
    net, scene_map = read_net(town), read_map(town)
    graph = RoadGraph.of(net, scene_map)
    lanes_m = sum(graph.length_m[road] * len(lanes) for road, lanes in graph.lanes.items())
    return {
        "town": town,
        "lanes_km": round(lanes_m / 1000, 2),
        "roads": len(graph.lanes),
        "multi_lane_roads": sum(len(lanes) > 1 for lanes in graph.lanes.values()),
        "signalised_junctions": len(net.programs),
        "stop_signs": len(scene_map.stop_signs),
        "crossings": len(scene_map.crossings),
        "opendrive": str(net.path.with_name(f"{town}.xodr")),
    }


def main(argv: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="codriver towns",
        description="Lists the SUMO towns that ship with the package.",
        epilog="example: codriver towns --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    rows = [describe(town) for town in towns()]
    if arguments.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return 0
    table = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")
    return 0
