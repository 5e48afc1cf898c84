"""Obstacles on the ego's path now, and meetings with those who will cross it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim_clients.expert.forecast import Forecast
from sim_clients.expert.overlap import boxes_on_path
from sim_clients.expert.path import PathAhead
from sim_clients.scene import Actors, Ego, Floats


class Obstacle(NamedTuple):
    """Something on the path now.

    Attributes:
        gap_m: Free metres in front of the ego along its path.
        speed_mps: Its speed along the path, never negative.
        row: Row of the actor.
    """

    gap_m: float
    speed_mps: float
    row: int


class Meeting(NamedTuple):
    """A predicted meeting.

    Attributes:
        stop_m: The ego meets nobody's predicted box if it drives no farther than this.
        time_s: When they would meet.
        row: Row of the actor.
        future: Row of the forecast.
    """

    stop_m: float
    time_s: float
    row: int
    future: int


def in_view(ego: Ego, actors: Actors, ahead_m: float, behind_m: float, side_m: float) -> NDArray[np.int64]:
    """Rows of the actors whose centre lies in a box around the ego."""
    dx, dy = actors.pose[:, 0] - ego.x, actors.pose[:, 1] - ego.y
    cos, sin = np.cos(ego.yaw), np.sin(ego.yaw)
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    return np.flatnonzero((along < ahead_m) & (along > -behind_m) & (np.abs(across) < side_m))


def obstacles_on_path(
    path: PathAhead, half: tuple[float, float], ego: Ego, actors: Actors, rows: NDArray[np.int64]
) -> list[Obstacle]:
    """What overlaps the ego's box somewhere on its path at this instant, each with its gap.

    Args:
        path: The ego's path.
        half: Half length and half width of the box to move along it.
        ego: The ego; what has its centre behind the ego's centre is no obstacle.
        actors: Other road users.
        rows: Which of them to look at.
    """
    if not len(rows):
        return []
    pose = actors.pose[rows]
    forward = (pose[:, 0] - ego.x) * np.cos(ego.yaw) + (pose[:, 1] - ego.y) * np.sin(ego.yaw)
    touch = boxes_on_path(path.poses, half, pose, actors.half_extent[rows])
    beside = np.flatnonzero(touch[:, 0])
    if len(beside):  # what only the margin touches may be driven away from
        bare = (half[0], ego.half_width_m)
        touch[beside] = boxes_on_path(path.poses, bare, pose[beside], actors.half_extent[rows[beside]])
    obstacles = []
    for i in np.flatnonzero(touch.any(axis=1) & (forward > 0.0)):
        first = int(np.argmax(touch[i]))
        yaw = path.yaws_rad[min(first + int(half[0]), len(path.yaws_rad) - 1)]
        velocity = actors.velocity[rows[i]]
        speed = max(0.0, float(velocity[0] * np.cos(yaw) + velocity[1] * np.sin(yaw)))
        gap = _contact_gap(path, half, pose[i], actors.half_extent[rows[i]], first)
        obstacles.append(Obstacle(gap, speed, int(rows[i])))
    return obstacles


def _contact_gap(
    path: PathAhead, half: tuple[float, float], pose: Floats, extent: Floats, first: int
) -> float:
    """Refines the first touching sample (1 m grid) to a distance, so that the gap is a smooth function."""
    if first == 0:
        return 0.0
    x, y, yaw = path.points[first - 1, 0], path.points[first - 1, 1], path.yaws_rad[first - 1]
    shares = np.linspace(0.0, 1.0, 11)
    step = path.points[first] - path.points[first - 1]
    turn = path.yaws_rad[first] - yaw
    fine = np.column_stack([x + shares * step[0], y + shares * step[1], yaw + shares * turn])
    touch = boxes_on_path(fine, half, pose[None], extent[None])[0]
    share = float(shares[int(np.argmax(touch))]) if touch.any() else 1.0
    return float(path.distances_m[first - 1]) + share * float(
        path.distances_m[first] - path.distances_m[first - 1]
    )


def meetings(
    path: PathAhead,
    half: tuple[float, float],
    forecast: Forecast,
    run: Floats,
    time_step: float,
    margin_before: float,
    margin_after: float,
    horizon: float = np.inf,
) -> list[Meeting]:
    """Futures that the ego would meet if it drove on as it would alone.

    Args:
        path: The ego's path.
        half: Half length and half width of the ego's box, margins included.
        forecast: Futures of others.
        run: (T,) metres that the ego has driven at each time of the forecast.
        time_step: Seconds between those times.
        margin_before: An actor that comes within this time after the ego has left is met, too.
        margin_after: So is one that left within this time before the ego comes.
        horizon: Meetings later than this do not count.
    """
    steps = min(forecast.poses.shape[1], int(min(horizon / time_step, 1e6)) + 1)
    count, poses = len(forecast.poses), forecast.poses[:, :steps]
    if not count:
        return []
    touch = boxes_on_path(
        path.poses,
        half,
        poses.reshape(-1, 3),
        np.repeat(forecast.halves, steps, axis=0),
    ).reshape(count, steps, -1)
    early, late = round(margin_before / time_step), round(margin_after / time_step)
    last = len(path.distances_m) - 1
    samples = np.minimum(run / (path.distances_m[1] - path.distances_m[0]), last)
    found = []
    for future in np.flatnonzero(touch.any(axis=(1, 2))):
        met = touch[future]
        for time in np.flatnonzero(met.any(axis=1)):
            # where the ego is from "early" steps before this time to "late" steps after it
            begin = int(samples[max(0, time - early)])
            end = int(np.ceil(samples[min(steps - 1, time + late)]))
            if met[time, begin : end + 1].any():
                stop = float(path.distances_m[int(np.argmax(met.any(axis=0)))])
                found.append(Meeting(stop, float(time) * time_step, int(forecast.actor[future]), int(future)))
                break
    return found
