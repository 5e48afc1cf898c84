"""From a scene to an observation: one ``Observer`` per environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.boxes import actor_corners, corners, near
from sim_clients.observation.history import Frame, History
from sim_clients.observation.layers import ROUTE_POINTS, Layers
from sim_clients.observation.map_raster import map_raster
from sim_clients.observation.masks import masks
from sim_clients.observation.picture import picture as compose_picture
from sim_clients.observation.state import Light, Stop, active_sign, state_vector
from sim_clients.observation.stops import StopLines, stop_sign_square
from sim_clients.observation.view import Points, View, as_points
from sim_clients.scene import Actors, Scene, SceneMap

VEHICLE_SCALE = 1.0
WALKER_SCALE = 2.0
"""Walkers are drawn twice as large as they are, so that they survive the max-pool as more than a dot."""


class Progress(Protocol):
    """Where on the route the ego is."""

    @property
    def index(self) -> int:
        """Index of the route point that the ego has reached."""


class ObserverReport(Protocol):
    """What an observer reads of the rules' report (``sim_clients.rules.RuleReport``)."""

    @property
    def light(self) -> Light | None:
        """The light ahead, or None."""

    @property
    def stop(self) -> Stop:
        """The stop sign's state."""

    @property
    def progress(self) -> Progress:
        """Progress along the route."""


@dataclass(frozen=True)
class Observation:
    """What is seen at one step. All arrays are new and belong to the receiver.

    Attributes:
        masks: (15, 96, 96) uint8; channels and levels in ``codriver.driving``.
        state: (10,) float32; items in ``codriver.driving.STATE_ITEMS``.
        picture: (192, 192, 3) uint8 RGB where it was asked for, else None.
        pixel_collision: Whether the ego's box overlaps the current walkers' mask at 192 x 192 (ends training
            episodes; walkers are drawn at twice their size, so this comes before a touch). Walkers on pavements do
            not count: a car in the middle of a 3.5 m lane would "touch" those who walk along the kerb.
    """

    masks: NDArray[np.uint8]
    state: NDArray[np.float32]
    picture: NDArray[np.uint8] | None
    pixel_collision: bool


class Observer:
    """Observes one environment, step after step.

    Not thread-safe: buffers and history are its own. One core is enough for a frame, so OpenCV's threads are
    switched off for the whole process.
    """

    def __init__(self, map: SceneMap, cache_dir: Path | None = None) -> None:
        """Draws the map, or reads it from the cache.

        Args:
            map: The map of all scenes to come.
            cache_dir: Where map rasters are kept; by default the user's cache directory.
        """
        cv2.setNumThreads(1)
        self._stop_lines = StopLines(map)
        self._layers = Layers(map_raster(map, cache_dir), self._stop_lines.ends)
        self._history = History()

    def reset(self) -> None:
        """Forgets the past: call it before the first scene of an episode."""
        self._history.clear()

    def observe(self, scene: Scene, report: ObserverReport, picture: bool = False) -> Observation:
        """Observes the next step; each call adds one step to the history.

        Args:
            scene: The scene, on this observer's map.
            report: What the rules say about it.
            picture: Whether to draw the picture too.
        """
        ego, layers = scene.ego, self._layers
        self._history.push(record(scene, report, self._stop_lines))
        route = as_points(scene.route.points[report.progress.index :][:ROUTE_POINTS])
        extent = (ego.half_length_m, ego.half_width_m)
        view = View.of(ego)
        layers.draw(view, self._history.sampled(), route, _statics(scene), extent)
        return Observation(
            masks(layers),
            state_vector(ego, report.light, report.stop),
            compose_picture(layers) if picture else None,
            layers.ego_touches_walker() and layers.ego_touches(view, _walkers_on_road(scene)),
        )


def record(scene: Scene, report: ObserverReport, lines: StopLines) -> Frame:
    """What of a scene will be remembered: actors near the ego, lights and the stop sign to obey."""
    ego = scene.ego
    return Frame(
        actor_corners(scene.vehicles, ego, VEHICLE_SCALE),
        actor_corners(scene.walkers, ego, WALKER_SCALE),
        lines.levels(scene.light_colours, ego.x, ego.y),
        stop_sign_square(active_sign(report.stop)),
    )


def _walkers_on_road(scene: Scene) -> Points:
    walkers, on_road = scene.walkers, ~scene.walker_on_pavement
    chosen = Actors(
        walkers.ids[on_road], walkers.pose[on_road], walkers.half_extent[on_road], walkers.velocity[on_road]
    )
    return actor_corners(chosen, scene.ego, WALKER_SCALE)


def _statics(scene: Scene) -> Points:
    statics = scene.statics
    if not len(statics):
        return np.zeros((0, 4), np.complex128)
    keep = near(statics, scene.ego)
    return corners(statics.pose[keep], statics.half_extent[keep])
