"""Time to collision: when the ego meets somebody, if all go on as they do.

The ego goes on along its route at its present speed and sideways offset; where it is not on its route, straight on.
Everybody else goes straight on at constant velocity.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sim_clients.geometry import overlaps, wrap_angle
from sim_clients.route_tracker import RouteProgress
from sim_clients.scene import STEP_S, Actors, Floats, Scene

_ON_ROUTE_M = 3.0
_ON_ROUTE_RAD = math.radians(60.0)


def time_to_collision(scene: Scene, progress: RouteProgress, horizon_s: float) -> float:
    """Time until the ego first overlaps the box of a vehicle, a walker or a static obstacle.

    Whoever runs into the ego from behind does not count: a car that closes up at a light is no risk that the ego
    could do anything about.

    Args:
        scene: The scene.
        progress: Where the ego is on its route.
        horizon_s: How far to look; later meetings are not found.

    Returns:
        Seconds, a multiple of 0.1 from 0 to the horizon; infinite if nobody is met.
    """
    times = np.arange(0.0, horizon_s + STEP_S / 2, STEP_S)
    path = _own_path(scene, progress, times)
    return min(_first_meeting(scene, path, times, actors) for actors in _others(scene))


def _others(scene: Scene) -> tuple[Actors, ...]:
    return scene.vehicles, scene.walkers, scene.statics


def _own_path(scene: Scene, progress: RouteProgress, times: Floats) -> Floats:
    """Poses of the ego at times: (T, 3)."""
    ego, route = scene.ego, scene.route
    speed = ego.speed_mps
    along = speed * times
    if abs(progress.lateral_m) > _ON_ROUTE_M or abs(progress.heading_error_rad) > _ON_ROUTE_RAD:
        x, y = ego.x + along * math.cos(ego.yaw), ego.y + along * math.sin(ego.yaw)
        return np.stack([x, y, np.full(len(times), ego.yaw)], axis=1)
    # The route from the ego's own foot point on, moved sideways to where the ego is.
    stop = progress.index + 2 + math.ceil(float(along[-1]))
    points, yaws = route.points[progress.index : stop], route.yaws_rad[progress.index : stop]
    begin = route.distances_m[progress.index]
    distances = route.distances_m[progress.index : stop] - begin
    yaw = float(yaws[0])
    foot = (ego.x - points[0, 0]) * math.cos(yaw) + (ego.y - points[0, 1]) * math.sin(yaw)
    turned = yaw + np.array([wrap_angle(float(value) - yaw) for value in yaws])
    at = along + foot
    heading = np.interp(at, distances, turned)
    beyond = np.maximum(at - distances[-1], 0.0) + np.minimum(at, 0.0)  # straight on where the route ends
    x = np.interp(at, distances, points[:, 0]) + beyond * np.cos(heading)
    y = np.interp(at, distances, points[:, 1]) + beyond * np.sin(heading)
    x -= progress.lateral_m * np.sin(heading)
    y += progress.lateral_m * np.cos(heading)
    return np.stack([x, y, heading + progress.heading_error_rad], axis=1)


def _first_meeting(scene: Scene, path: Floats, times: Floats, actors: Actors) -> float:
    """Time at which the ego on its path (T, 3) first meets one of the actors."""
    ego = scene.ego
    near = _reachable(ego.speed_mps, float(times[-1]), ego.half_length_m + ego.half_width_m, path[0], actors)
    if not near.any():
        return math.inf
    pose, half, velocity = actors.pose[near], actors.half_extent[near], actors.velocity[near]
    moved = pose[:, None, :2] + velocity[:, None] * times[:, None]  # (K, T, 2)
    # In the ego's own frame at each time there is one ego box, and all boxes are tested at once.
    cos, sin = np.cos(path[:, 2]), np.sin(path[:, 2])
    dx, dy = moved[..., 0] - path[:, 0], moved[..., 1] - path[:, 1]
    forward, left = dx * cos + dy * sin, dy * cos - dx * sin
    turn = pose[:, None, 2] - path[:, 2]
    boxes = np.stack([forward, left, turn], axis=-1).reshape(-1, 3)
    halves = np.repeat(half, len(times), axis=0)
    met = overlaps((0.0, 0.0, 0.0), (ego.half_length_m, ego.half_width_m), boxes, halves)
    met = met.reshape(len(pose), len(times))
    first = np.where(met.any(axis=1), met.argmax(axis=1), -1)
    from_behind = (
        np.take_along_axis(forward, np.maximum(first, 0)[:, None], axis=1)[:, 0] < -ego.half_length_m
    )
    counted = first[(first >= 0) & ~from_behind]
    return float(times[counted.min()]) if len(counted) else math.inf


def _reachable(
    speed: float, horizon_s: float, reach_m: float, here: Floats, actors: Actors
) -> NDArray[np.bool_]:
    """Actors that could be met within the horizon, whatever the directions."""
    gap = np.hypot(actors.pose[:, 0] - here[0], actors.pose[:, 1] - here[1])
    speeds = np.hypot(actors.velocity[:, 0], actors.velocity[:, 1])
    near: NDArray[np.bool_] = gap <= (speed + speeds) * horizon_s + reach_m + actors.half_extent.sum(axis=1)
    return near
