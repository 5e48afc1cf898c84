"""Measures what the rules of one environment cost per step, along a route of a built town with traffic.

Example: python benchmarks/rules.py --town birch
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np

from sim_clients.rules.monitor import RuleMonitor
from sim_clients.scene import Actors, Ego, Route, Scene, SceneMap
from sim_clients.simulator import EpisodeTask
from sim_clients.sumo.graph import RoadGraph
from sim_clients.sumo.net import read_net
from sim_clients.sumo.routes import RoutePlanner
from sim_clients.sumo.scene_map import read_map

VEHICLES, WALKERS, SPEED_MPS = 60, 40, 6.0


def main() -> int:
    """Prints the microseconds of CPU time that ``RuleMonitor.update`` takes, the best of several rounds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--town", default="birch")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    town = read_map(arguments.town)
    route = RoutePlanner(town, RoadGraph.of(read_net(arguments.town), town)).plan(EpisodeTask(1, 1)).route
    assert route is not None
    scenes = _scenes(town, route)
    monitor = RuleMonitor(town)
    best = min(_round(monitor, scenes) for _ in range(arguments.rounds))
    figures = {"town": arguments.town, "vehicles": VEHICLES, "walkers": WALKERS, "steps": len(scenes)}
    print(json.dumps({**figures, "us_per_update": round(best, 1)}))
    return 0


def _round(monitor: RuleMonitor, scenes: list[Scene]) -> float:
    monitor.reset(scenes[0])
    began = time.process_time()
    for scene in scenes:
        monitor.update(scene)
    return (time.process_time() - began) / len(scenes) * 1e6


def _scenes(town: SceneMap, route: Route) -> list[Scene]:
    rng = np.random.default_rng(0)
    vehicles, walkers = _actors(town, rng, VEHICLES, (2.4, 0.95)), _actors(town, rng, WALKERS, (0.25, 0.25))
    colours = rng.integers(1, 4, len(town.stop_lines)).astype(np.uint8)
    scenes = []
    for step, at in enumerate(np.arange(0.0, route.length_m, SPEED_MPS / 10)):
        x, y = (float(np.interp(at, route.distances_m, route.points[:, k])) for k in (0, 1))
        yaw = float(route.yaws_rad[int(np.searchsorted(route.distances_m, at, "right")) - 1])
        velocity = SPEED_MPS * np.array([math.cos(yaw), math.sin(yaw)])
        scenes.append(
            Scene(
                map=town,
                route=route,
                time_s=step / 10,
                ego=Ego(x, y, yaw, velocity, np.zeros(2), 2.45, 0.95),
                vehicles=vehicles,
                walkers=walkers,
                walker_on_pavement=np.zeros(WALKERS, np.bool_),
                light_colours=colours,
                light_remaining=np.full(len(colours), 0.5),
            )
        )
    return scenes


def _actors(town: SceneMap, rng: np.random.Generator, count: int, half: tuple[float, float]) -> Actors:
    """Actors at random places on the lanes."""
    lanes = list(town.lanes.values())
    pose = np.zeros((count, 3))
    for row in pose:
        lane = lanes[rng.integers(len(lanes))].centre
        row[:2] = lane[0] + rng.random() * (lane[-1] - lane[0])
        row[2] = rng.uniform(-math.pi, math.pi)
    return Actors(np.arange(count), pose, np.tile(np.array(half), (count, 1)), np.zeros((count, 2)))


if __name__ == "__main__":
    raise SystemExit(main())
