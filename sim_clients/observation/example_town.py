"""A made-up town with traffic, for measuring and trying the observations where no simulator is at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sim_clients.scene import (
    STEP_S,
    Actors,
    Command,
    Control,
    Ego,
    Floats,
    Lane,
    LaneMarking,
    LightColour,
    Route,
    Scene,
    SceneMap,
    StopLine,
)

BLOCK_M = 100.0
LANE_M = 3.5
STREETS = 6
"""Streets each way; every crossing has lights, every street two lanes each way."""
SPEED_MPS = 8.0


def example_map() -> SceneMap:
    """A grid of streets with four lanes, lights at every crossing, markings between them."""
    side = BLOCK_M * (STREETS - 1)
    half = 2 * LANE_M
    lanes: dict[str, Lane] = {}
    polygons, markings, stop_lines = [], [], []
    for street in range(STREETS):
        for turned in (False, True):
            place = street * BLOCK_M

            def at(
                along: float, across: float, turned: bool = turned, place: float = place
            ) -> tuple[float, float]:
                return (place - across, along) if turned else (along, place + across)

            corners = [at(-half, -half), at(side + half, -half), at(side + half, half), at(-half, half)]
            polygons.append(np.array(corners))
            for block in range(STREETS - 1):
                first, last = block * BLOCK_M + half + 2, (block + 1) * BLOCK_M - half - 2
                for across, broken in ((-LANE_M, True), (0.0, False), (LANE_M, True)):
                    markings.append(LaneMarking(np.array([at(first, across), at(last, across)]), broken))
                for number, across in enumerate((-1.5 * LANE_M, -0.5 * LANE_M, 0.5 * LANE_M, 1.5 * LANE_M)):
                    forward = across < 0
                    ends = [at(first, across), at(last, across)]
                    centre = np.array(ends if forward else ends[::-1])
                    lane_id = f"{'y' if turned else 'x'}{street}.{block}.{number}"
                    lanes[lane_id] = Lane(lane_id, centre, LANE_M, False, 13.9)
                    yaw = math.atan2(*(centre[1] - centre[0])[::-1])
                    stop_lines.append(StopLine(lane_id, lane_id, centre[1], yaw, LANE_M))
    return SceneMap(
        name="example",
        sha256="example",
        lanes=lanes,
        road_polygons=tuple(polygons),
        markings=tuple(markings),
        pavements=(),
        crossings=(),
        stop_lines=tuple(stop_lines),
        stop_signs=(),
    )


def around_a_block() -> Route:
    """A closed way around four blocks with rounded corners, 1 m apart."""
    radius, low, high = 12.0, 1.5 * LANE_M, 2 * BLOCK_M - 1.5 * LANE_M
    middle = (low + high) / 2
    legs = []
    for quarter in range(4):
        straight = np.arange(low + radius, high - radius)
        turn = np.arange(0.0, math.pi / 2, 1 / radius)
        leg = np.concatenate(
            [
                np.stack([straight, np.full_like(straight, low)], axis=1),
                np.stack(
                    [high - radius + radius * np.sin(turn), low + radius - radius * np.cos(turn)], axis=1
                ),
            ]
        )
        c, s = round(math.cos(quarter * math.pi / 2)), round(math.sin(quarter * math.pi / 2))
        legs.append((leg - middle) @ np.array([[c, s], [-s, c]]) + middle)
    points = np.concatenate(legs) + BLOCK_M
    steps = np.diff(points, axis=0, append=points[:1])
    return Route(
        points=points,
        yaws_rad=np.arctan2(steps[:, 1], steps[:, 0]),
        lane_ids=("",) * len(points),
        commands=np.full(len(points), int(Command.LANE_FOLLOW), np.int64),
        distances_m=np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))[:-1]]),
    )


def drive(
    scene_map: SceneMap, route: Route, steps: int, vehicles: int = 60, walkers: int = 40, seed: int = 0
) -> Iterator[tuple[Scene, int]]:
    """Drives the ego along a route through traffic of which about 15 are in view, 11 of them vehicles.

    It looks like traffic without being any: actors move straight on from places around the ego's way.

    Args:
        scene_map: The map.
        route: The way of the ego; it starts anew where the way ends.
        steps: How many scenes.
        vehicles: Vehicles in town; a few of them keep near the ego.
        walkers: Pedestrians in town; a few of them keep near the ego.
        seed: Seed of all that is random.

    Yields:
        Scenes, and the index of the route point that the ego has reached.
    """
    rng = np.random.default_rng(seed)
    near = rng.uniform(-1, 1, (vehicles + walkers, 3)) * (19.0, 19.0, math.pi) + (11.0, 0.0, 0.0)
    near[(np.abs(near[:, :2]) < 4).all(axis=1), 1] += 8.0
    companions = np.zeros(vehicles + walkers, np.bool_)
    companions[:11] = companions[vehicles : vehicles + 4] = True
    far = rng.uniform(0, BLOCK_M * (STREETS - 1), (vehicles + walkers, 2))
    yaws = rng.integers(0, 4, vehicles + walkers) * math.pi / 2
    extent = np.where(np.arange(vehicles + walkers)[:, None] < vehicles, (2.4, 1.0), (0.3, 0.3))
    speeds = np.where(np.arange(vehicles + walkers) < vehicles, SPEED_MPS, 1.2)
    lights = len(scene_map.stop_lines)
    for step in range(steps):
        index = int(step * STEP_S * SPEED_MPS) % (len(route.points) - 1)
        share = (step * STEP_S * SPEED_MPS) % 1.0
        x, y = (1 - share) * route.points[index] + share * route.points[index + 1]
        yaw = float(route.yaws_rad[index])
        c, s = math.cos(yaw), math.sin(yaw)
        drift = np.sin(step * 0.03 + near[:, 2]) * 2
        pose = np.empty((vehicles + walkers, 3))
        pose[:, 0] = x + (near[:, 0] + drift) * c - near[:, 1] * s
        pose[:, 1] = y + (near[:, 0] + drift) * s + near[:, 1] * c
        pose[:, 2] = yaw + 0.1 * near[:, 2]
        away = far + (step * STEP_S * speeds)[:, None] * np.stack([np.cos(yaws), np.sin(yaws)], axis=1)
        pose[~companions, :2] = away[~companions] % (BLOCK_M * (STREETS - 1))
        pose[~companions, 2] = yaws[~companions]
        velocity = speeds[:, None] * np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], axis=1)
        phase = np.arange(lights) % 4 + step // 50
        colours = np.choose(
            phase % 4, [LightColour.GREEN, LightColour.YELLOW, LightColour.RED, LightColour.RED]
        )
        yield (
            Scene(
                map=scene_map,
                route=route,
                time_s=step * STEP_S,
                ego=Ego(x, y, yaw, SPEED_MPS * np.array([c, s]), np.zeros(2), 2.45, 1.06, Control(0.4)),
                vehicles=_actors(slice(0, vehicles), pose, extent, velocity),
                walkers=_actors(slice(vehicles, None), pose, extent, velocity),
                walker_on_pavement=np.ones(walkers, np.bool_),
                light_colours=colours.astype(np.uint8),
                light_remaining=np.full(lights, 1.0 - step % 50 / 50),
            ),
            index,
        )


def _actors(part: slice, pose: Floats, extent: Floats, velocity: Floats) -> Actors:
    count = len(pose[part])
    return Actors(np.arange(count, dtype=np.int64), pose[part].copy(), extent[part], velocity[part])
