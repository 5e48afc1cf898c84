"""The neutral scene: what every simulator fills, and from which everything else is computed.

Conventions: SI units, radians, x forward (east), y left (north), z left out; yaw counter-clockwise from x.
A position is the centre of a box, never a bumper. Coordinates are float64 map coordinates, in metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEP_S = 0.1
"""Fixed step of every simulator, in seconds (10 Hz)."""


class LightColour(IntEnum):
    """Colour of a traffic light; the values are the ones of the state vector (item 6)."""

    NONE = 0
    RED = 1
    YELLOW = 2
    GREEN = 3


class Command(IntEnum):
    """Route command at a route point; the values are those of ``codriver.v1.RouteCommand``."""

    LEFT = 1
    RIGHT = 2
    STRAIGHT = 3
    LANE_FOLLOW = 4
    CHANGE_LANE_LEFT = 5
    CHANGE_LANE_RIGHT = 6


# ---------------------------------------------------------------- once per map


@dataclass(frozen=True)
class Lane:
    """One driving lane, or one connection through a junction.

    Attributes:
        id: Unique in the map.
        centre: (N, 2) centre line in driving direction, N >= 2.
        width_m: Width.
        in_junction: True for a connection inside a junction.
        speed_limit_mps: Speed limit.
        left: Neighbour to the left that drives the same way, or None.
        right: Neighbour to the right that drives the same way, or None.
        successors: Lanes that continue this one.
    """

    id: str
    centre: Floats
    width_m: float
    in_junction: bool
    speed_limit_mps: float
    left: str | None = None
    right: str | None = None
    successors: tuple[str, ...] = ()


@dataclass(frozen=True)
class LaneMarking:
    """A painted line. Attributes: points (N, 2); broken: True for a broken line, False for a solid one."""

    points: Floats
    broken: bool


@dataclass(frozen=True)
class StopLine:
    """Where a lane stops at a traffic light.

    Attributes:
        id: Unique in the map; the index in ``SceneMap.stop_lines`` orders ``Scene.light_colours``.
        lane_id: The lane that ends here.
        centre: (2,) middle of the line.
        yaw_rad: Driving direction across the line.
        lane_width_m: Width of the lane; the line is drawn with a half length of 0.4 of it.
    """

    id: str
    lane_id: str
    centre: Floats
    yaw_rad: float
    lane_width_m: float


@dataclass(frozen=True)
class StopSign:
    """A stop sign with its trigger box on the lane in front of the junction.

    Attributes:
        id: Unique in the map.
        lane_id: The lane that it holds for.
        centre: (2,) middle of the trigger box.
        yaw_rad: Driving direction through the box.
        half_length_m: Half extent along the lane.
        half_width_m: Half extent across it.
    """

    id: str
    lane_id: str
    centre: Floats
    yaw_rad: float
    half_length_m: float
    half_width_m: float


@dataclass(frozen=True)
class SceneMap:
    """What does not change while a map is loaded.

    Attributes:
        name: Town name.
        sha256: Hash of the source file; caches are keyed by it.
        lanes: Driving lanes by id, junction connections included.
        road_polygons: (N, 2) polygons whose union is the drivable road, junction areas included.
        markings: Lane markings; none inside junctions.
        pavements: (N, 2) polygons for walkers.
        crossings: (N, 2) polygons where walkers cross the road.
        stop_lines: One for each lane that ends at a traffic light.
        stop_signs: Stop signs.
    """

    name: str
    sha256: str
    lanes: Mapping[str, Lane]
    road_polygons: tuple[Floats, ...]
    markings: tuple[LaneMarking, ...]
    pavements: tuple[Floats, ...]
    crossings: tuple[Floats, ...]
    stop_lines: tuple[StopLine, ...]
    stop_signs: tuple[StopSign, ...]


# ---------------------------------------------------------------- once per episode


@dataclass(frozen=True)
class Route:
    """The way to drive, densely sampled. Training routes are replaced by longer ones that begin with the same points.

    Attributes:
        points: (M, 2), 1 m apart (the last gap may be shorter), on lane centres; a lane change is a diagonal.
        yaws_rad: (M,) direction of travel at each point.
        lane_ids: M lane ids.
        commands: (M,) int64 ``Command`` in force at each point: LEFT, RIGHT or STRAIGHT on a junction and for
            the 10 m before it, CHANGE_LANE_* on a lane change and the 10 m before it, else LANE_FOLLOW.
        distances_m: (M,) distance from the start along the route.
    """

    points: Floats
    yaws_rad: Floats
    lane_ids: tuple[str, ...]
    commands: NDArray[np.int64]
    distances_m: Floats

    @property
    def length_m(self) -> float:
        """Length from the first point to the last."""
        return float(self.distances_m[-1])


# ---------------------------------------------------------------- every step


class Control(NamedTuple):
    """Vehicle control: throttle 0..1, steer -1 (left) .. 1 (right), brake 0..1."""

    throttle: float = 0.0
    steer: float = 0.0
    brake: float = 0.0


@dataclass(frozen=True)
class Actors:
    """Boxes of one kind of road user, as columns of equal length N.

    Attributes:
        ids: (N,) int64, stable while an actor lives.
        pose: (N, 3) x, y, yaw.
        half_extent: (N, 2) half length, half width.
        velocity: (N, 2) in map axes, m/s.
    """

    ids: NDArray[np.int64]
    pose: Floats
    half_extent: Floats
    velocity: Floats

    @classmethod
    def empty(cls) -> Actors:
        """No actor."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 2)), np.zeros((0, 2)))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Ego:
    """The vehicle that the policy drives.

    Attributes:
        x, y, yaw: Pose of the box centre.
        velocity: (2,) in map axes, m/s.
        acceleration: (2,) in map axes, m/s^2, planar.
        half_length_m, half_width_m: Box.
        control: Control applied on the step into this scene.
        gear: 0 to 5 (simulators without gears report 1, and -1 never occurs).
    """

    x: float
    y: float
    yaw: float
    velocity: Floats
    acceleration: Floats
    half_length_m: float
    half_width_m: float
    control: Control = Control()  # noqa: RUF009  (a tuple: it cannot be changed)
    gear: int = 1

    @property
    def speed_mps(self) -> float:
        """Planar speed, never negative."""
        return float(np.hypot(self.velocity[0], self.velocity[1]))

    @property
    def forward_speed_mps(self) -> float:
        """Signed speed along the heading."""
        return float(self.velocity[0] * np.cos(self.yaw) + self.velocity[1] * np.sin(self.yaw))


@dataclass(frozen=True)
class Scene:
    """Everything at one instant.

    Attributes:
        map: The map.
        route: The route of this episode.
        time_s: Simulated time since the episode began; 0 in the first scene.
        ego: The ego vehicle.
        vehicles: Other vehicles.
        walkers: Pedestrians.
        walker_on_pavement: (len(walkers),) bool.
        light_colours: (len(map.stop_lines),) uint8 ``LightColour`` of each stop line.
        light_remaining: (len(map.stop_lines),) share of the current phase that is left, 0..1.
        statics: Boxes of static obstacles (parked cars are vehicles).
        impulse_actor_ids: Actors that the simulator itself says the ego hit on this step (CARLA's sensor).
    """

    map: SceneMap
    route: Route
    time_s: float
    ego: Ego
    vehicles: Actors
    walkers: Actors
    walker_on_pavement: NDArray[np.bool_]
    light_colours: NDArray[np.uint8]
    light_remaining: NDArray[np.float64]
    statics: Actors = field(default_factory=Actors.empty)
    impulse_actor_ids: tuple[int, ...] = ()
