"""Where the other road users will be in the next seconds: vehicles along their lanes, walkers straight on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim_clients.expert.lane_futures import LaneFutures
from sim_clients.expert.rings import ring_lanes
from sim_clients.expert.settings import ExpertSettings
from sim_clients.lane_locator import LaneLocator, LanePosition
from sim_clients.scene import Actors, Floats, LightColour, Scene, SceneMap

_STANDING_MPS = 0.3
_LANE_HEADING_RAD = 0.6
_LANE_OFFSET_M = 1.8
_BRAKING_MPS2 = 4.5
"""What others are trusted to brake with at a light, a sign or a junction where they must wait."""


class Forecast(NamedTuple):
    """Possible futures of the other road users. An actor may have several.

    Attributes:
        actor: (H,) row of the actor.
        poses: (H, T, 3).
        halves: (H, 2) half extents.
        waits: (H,) True if the actor still can and must stop before the junction ahead of it, so that an ego that is
            there first, or has right of way, need not yield.
        on_ring: (H,) True for an actor on a roundabout.
    """

    actor: NDArray[np.int64]
    poses: Floats
    halves: Floats
    waits: NDArray[np.bool_]
    on_ring: NDArray[np.bool_]


class VehicleForecaster:
    """Predicts vehicles along their lanes at constant speed; red lights and stop signs hold them.

    Args:
        map: The map.
        settings: Horizon and time step.
    """

    def __init__(self, map: SceneMap, settings: ExpertSettings) -> None:
        self._locator = LaneLocator(map)
        self._futures = LaneFutures(map)
        self.rings = ring_lanes(map)
        self.times = np.arange(0.0, settings.horizon + settings.time_step / 2, settings.time_step)
        self._lights = {line.lane_id: index for index, line in enumerate(map.stop_lines)}
        self._signs = {sign.lane_id for sign in map.stop_signs}

    def forecast(self, scene: Scene, rows: NDArray[np.int64]) -> Forecast:
        """Futures of the vehicles in these rows."""
        actors = scene.vehicles
        found: list[tuple[int, Floats, bool, bool]] = []
        for row in rows.tolist():
            speed = float(np.hypot(*actors.velocity[row]))
            position = None
            if speed > _STANDING_MPS:
                x, y, yaw = actors.pose[row].tolist()
                position = self._locator.locate(x, y, yaw)
            if position is None or not _follows(position):
                found.append((row, straight_on(actors, row, self.times), False, False))
                continue
            hold = self._hold(scene, position, speed, float(actors.half_extent[row, 0]))
            on_ring = position.lane_id in self.rings
            for path in self._futures.of(position.lane_id):
                along = position.s_m + speed * self.times
                if path.entry_m > hold:
                    along = np.minimum(along, max(hold, position.s_m))
                room = path.entry_m - position.s_m - float(actors.half_extent[row, 0])
                waits = speed**2 / (2 * _BRAKING_MPS2) + 0.5 < room < np.inf
                found.append((row, path.at(along, position.lateral_m), waits, on_ring))
        return _collect(found, actors, self.times)

    def _hold(self, scene: Scene, position: LanePosition, speed: float, half_length: float) -> float:
        """Distance along its lane at which a light or a sign stops a vehicle's centre; infinite if nothing does."""
        index = self._lights.get(position.lane_id)
        held = position.lane_id in self._signs
        if index is not None:
            colour = LightColour(int(scene.light_colours[index]))
            held = colour in (LightColour.RED, LightColour.YELLOW)
        if not held:
            return np.inf
        end = self._futures.of(position.lane_id)[0].entry_m - half_length
        can_stop = end - position.s_m > speed**2 / (2 * _BRAKING_MPS2) - 1.0
        return end if can_stop and end - position.s_m > -0.5 else np.inf


def forecast_walkers(walkers: Actors, rows: NDArray[np.int64], times: Floats, radius: float) -> Forecast:
    """Futures of the walkers in these rows: straight on at constant speed, as squares of at least ``radius``."""
    found = [(row, straight_on(walkers, row, times), False, False) for row in rows.tolist()]
    forecast = _collect(found, walkers, times)
    return forecast._replace(halves=np.maximum(forecast.halves, radius))


def straight_on(actors: Actors, row: int, times: Floats) -> Floats:
    """(T, 3) poses at constant velocity."""
    poses = np.repeat(actors.pose[row][None], len(times), axis=0)
    poses[:, :2] += times[:, None] * actors.velocity[row]
    return poses


def _follows(position: LanePosition) -> bool:
    return abs(position.heading_error_rad) < _LANE_HEADING_RAD and abs(position.lateral_m) < _LANE_OFFSET_M


def _collect(found: list[tuple[int, Floats, bool, bool]], actors: Actors, times: Floats) -> Forecast:
    rows = np.array([row for row, *_ in found], np.int64)
    poses = np.stack([poses for _, poses, *_ in found]) if found else np.zeros((0, len(times), 3))
    return Forecast(
        rows,
        poses,
        actors.half_extent[rows],
        np.array([waits for *_, waits, _ in found], bool),
        np.array([ring for *_, ring in found], bool),
    )
