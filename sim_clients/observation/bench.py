"""`codriver bench bev`: what a frame of observation costs."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sim_clients.observation import Observer
from sim_clients.observation.example_town import around_a_block, drive, example_map
from sim_clients.observation.history import History
from sim_clients.observation.layers import ROUTE_POINTS, Layers
from sim_clients.observation.map_raster import map_raster
from sim_clients.observation.masks import masks
from sim_clients.observation.observer import ObserverReport, record
from sim_clients.observation.picture import picture
from sim_clients.observation.state import state_vector
from sim_clients.observation.stops import StopLines
from sim_clients.observation.view import View, as_points
from sim_clients.rules.lights import LightAhead
from sim_clients.rules.stop_signs import StopSignState
from sim_clients.scene import LightColour, Scene
from sim_clients.simulator import SimulatorError

WARM_UP = 50
Town = list[tuple[Scene, ObserverReport]]


@dataclass(frozen=True)
class _Progress:
    index: int


class _Report(NamedTuple):
    light: LightAhead | None
    stop: StopSignState
    progress: _Progress


def main(argv: list[str]) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="codriver bench bev",
        description="CPU time per frame of BEV masks, picture and state on one core, in a town with 60 vehicles and"
        " 40 pedestrians of which about 15 are in view.",
        epilog="example: codriver bench bev --json",
    )
    parser.add_argument("--frames", type=int, default=1000, help="frames to measure (default %(default)s)")
    parser.add_argument("--town", help="measure on a drive through this SUMO town instead of the made-up one")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args(argv)
    if arguments.frames < 1:
        parser.error("--frames must be at least 1")
    try:
        town = _sumo(arguments.town, arguments.frames) if arguments.town else _made_up(arguments.frames)
    except SimulatorError as error:
        print(f"codriver bench bev: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(town, Path(folder))
    if arguments.json:
        print(json.dumps({"ms_per_frame": round(figures.pop("frame"), 4)}))
        return 0
    print(
        f"{figures.pop('frame'):.3f} ms a frame for masks, picture and state (median of {arguments.frames})"
    )
    for part, milliseconds in figures.items():
        print(f"  {part:<28}{milliseconds:.3f} ms")
    return 0


def measure(town: Town, cache_dir: Path) -> dict[str, float]:
    """Median CPU milliseconds: "frame" for the whole, then part by part from runs of their own."""
    observer = Observer(town[0][0].map, cache_dir)
    times: dict[str, list[float]] = {"frame": [], "masks and state only": []}
    for name, with_picture in (("frame", True), ("masks and state only", False)):
        observer.reset()
        for scene, report in town:
            times[name].append(_timed(partial(observer.observe, scene, report, picture=with_picture)))
    times.update(_parts(town, cache_dir))
    return {name: statistics.median(values[WARM_UP:]) for name, values in times.items()}


def _parts(town: Town, cache_dir: Path) -> dict[str, list[float]]:
    scene_map = town[0][0].map
    lines, history = StopLines(scene_map), History()
    layers = Layers(map_raster(scene_map, cache_dir), lines.ends)
    times: dict[str, list[float]] = {}

    def part(name: str, call: Callable[[], object]) -> None:
        times.setdefault("  " + name, []).append(_timed(call))

    for scene, report in town:
        ego, view = scene.ego, View.of(scene.ego)
        route = as_points(scene.route.points[report.progress.index :][:ROUTE_POINTS])
        no_statics = np.zeros((0, 4), np.complex128)
        part("remember the step", lambda s=scene, r=report: history.push(record(s, r, lines)))  # type: ignore[misc]
        frames = history.sampled()
        layers.draw(view, frames, route, no_statics, (ego.half_length_m, ego.half_width_m))
        part("clear", layers.clear)
        part("road and markings", partial(layers.draw_map, view))
        part("route", partial(layers.draw_route, view, route))
        part("statics and ego", partial(layers.draw_statics_and_ego, view, no_statics))
        part("vehicles and walkers", partial(layers.draw_actors, view, frames))
        part("lights and stop signs", partial(layers.draw_stops, view, frames))
        part("pool to masks", partial(masks, layers))
        part("picture", partial(picture, layers))
        part("state", partial(state_vector, ego, report.light, report.stop))
    return times


def _made_up(frames: int) -> Town:
    return [
        (scene, _report(index)) for scene, index in drive(example_map(), around_a_block(), frames + WARM_UP)
    ]


def _sumo(name: str, frames: int) -> Town:
    from sim_clients.observation.figures import look_around

    drives = look_around(name, episodes=frames, steps=frames + WARM_UP)
    return [(scene, report) for scene, report, _ in islice(drives, frames + WARM_UP)]


def _report(index: int) -> _Report:
    light = LightAhead(0, LightColour.RED, 12.0, 0.5) if index % 100 > 80 else None
    return _Report(light, StopSignState(None, False, float("inf"), False), _Progress(index))


def _timed(call: Callable[[], object]) -> float:
    start = time.process_time_ns()
    call()
    return (time.process_time_ns() - start) / 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
