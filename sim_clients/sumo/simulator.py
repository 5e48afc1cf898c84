"""The SUMO simulator: libsumo in this process, one ego that the vehicle model moves."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import libsumo
import numpy as np

from sim_clients.scene import STEP_S, Control, Ego, Scene, SceneMap
from sim_clients.simulator import EpisodeTask, SimulatorError
from sim_clients.sumo.carriageway import Carriageway
from sim_clients.sumo.courtesy import Courtesy
from sim_clients.sumo.graph import FootGraph, RoadGraph
from sim_clients.sumo.lights import Lights
from sim_clients.sumo.net import read_net, towns
from sim_clients.sumo.pedestrians import Pedestrians
from sim_clients.sumo.routes import RoutePlan, RoutePlanner
from sim_clients.sumo.scene_map import read_map
from sim_clients.sumo.traffic import Traffic
from sim_clients.vehicle import VehicleModel, VehicleState

EGO = "ego"
WARM_UP_STEPS = 150
CLEAR_AHEAD_M, CLEAR_BEHIND_M = 12.0, 8.0
AHEAD_M = 1000.0
"""What lies ahead at least on an endless route."""
_TYPES = Path(__file__).parent / "traffic.add.xml"
_OPTIONS = (
    "--step-length", str(STEP_S),
    "--time-to-teleport", "-1", "--collision.action", "none", "--lanechange.duration", "2.5",
    "--pedestrian.striping.jamtime", "-1", "--pedestrian.striping.jamtime.crossing", "-1",
    "--pedestrian.striping.jamtime.narrow", "-1",
    "--no-step-log", "true", "--no-warnings", "true", "--duration-log.disable", "true",
)  # fmt: skip


@contextlib.contextmanager
def _sumo_errors() -> Iterator[None]:
    try:
        yield
    except (libsumo.TraCIException, libsumo.FatalTraCIError) as error:
        raise SimulatorError(f"SUMO cannot go on: {error}; reset with hard_reset=True") from error


class SumoSimulator:
    """One SUMO simulation with one ego vehicle; see :class:`sim_clients.simulator.Simulator`.

    libsumo holds one simulation a process: a second simulator needs a process of its own.

    Args:
        town: Name of a town that ships with the package, see :meth:`towns`.
        vehicle: How the ego moves.

    Raises:
        SimulatorError: Unknown town, or another simulator lives in this process.
    """

    training_town = "alder"
    test_town = "birch"
    _living: SumoSimulator | None = None

    def __init__(self, town: str, vehicle: VehicleModel | None = None) -> None:
        self._net = read_net(town)
        if SumoSimulator._living is not None:
            raise SimulatorError(
                "libsumo holds one simulation a process: close the other SumoSimulator or use another process"
            )
        self._map = read_map(town)
        self._vehicle = vehicle or VehicleModel()
        self._graph = RoadGraph.of(self._net, self._map)
        self._foot_graph = FootGraph.of(self._net)
        self._carriageway = Carriageway(self._map)
        self._planner = RoutePlanner(self._map, self._graph)
        self._lights = Lights(self._net, self._map)
        self._traffic: Traffic | None = None
        self._pedestrians: Pedestrians | None = None
        self._courtesy = Courtesy()
        self._plan: RoutePlan | None = None
        self._progress = 0
        self._steps = 0
        self._state = VehicleState(0.0, 0.0, 0.0)
        self._control = Control()
        self._running = False
        SumoSimulator._living = self

    @staticmethod
    def towns() -> list[str]:
        """Names of the towns."""
        return towns()

    @property
    def map(self) -> SceneMap:
        """The loaded map."""
        return self._map

    def reset(self, task: EpisodeTask) -> Scene:
        """Begins an episode. The first reset is a hard one whatever the task says.

        Raises:
            SimulatorError: SUMO does not start, the town has no such route, or the simulator is closed.
        """
        if SumoSimulator._living is not self:
            raise SimulatorError("this SumoSimulator is closed; make a new one")
        self._plan = self._planner.plan(task)
        with _sumo_errors():
            if task.hard_reset or not self._running:
                self._restart(task)
            else:
                self._leave(task)
            self._enter(task)
            return self._scene()

    def _restart(self, task: EpisodeTask) -> None:
        """Loads the net afresh and lets the traffic settle."""
        if self._running:
            libsumo.close()
            self._running = False
        command = ["sumo", "-n", str(self._net.path), "-a", str(_TYPES), *_OPTIONS]
        try:
            libsumo.start([*command, "--seed", str(task.traffic_seed % 2**31)])
        except libsumo.TraCIException as error:
            raise SimulatorError(f"SUMO does not start: {error}") from error
        self._running = True
        self._traffic = Traffic(self._graph, task.traffic_seed, task.vehicles)
        self._pedestrians = Pedestrians(self._foot_graph, self._carriageway, task.traffic_seed, task.walkers)
        self._traffic.fill()
        self._pedestrians.fill()
        self._courtesy = Courtesy()
        for _ in range(WARM_UP_STEPS):
            self._advance(None)

    def _leave(self, task: EpisodeTask) -> None:
        """Takes the ego out and keeps the traffic."""
        assert self._traffic is not None and self._pedestrians is not None
        if EGO in libsumo.vehicle.getIDList():
            libsumo.vehicle.remove(EGO)
        self._courtesy.release(self._traffic.read())
        self._pedestrians.release()
        self._traffic.count, self._pedestrians.count = task.vehicles, task.walkers
        self._advance(None)

    def _advance(self, ego_xy: tuple[float, float] | None) -> None:
        assert self._traffic is not None and self._pedestrians is not None
        libsumo.simulationStep()
        self._traffic.after_step(ego_xy)
        self._pedestrians.after_step(ego_xy)

    def _blockers(self, x: float, y: float, yaw: float) -> list[int]:
        """Vehicles less than 12 m ahead of or 8 m behind a car that would stand here."""
        assert self._traffic is not None
        actors = self._traffic.read()
        relative = actors.pose[:, :2] - np.array([x, y])
        along = relative @ np.array([math.cos(yaw), math.sin(yaw)])
        across = relative @ np.array([-math.sin(yaw), math.cos(yaw)])
        reach = self._vehicle.half_length_m + actors.half_extent[:, 0]
        near = (along < CLEAR_AHEAD_M + reach) & (along > -CLEAR_BEHIND_M - reach) & (np.abs(across) < 2.3)
        return [int(number) for number in actors.ids[near]]

    def _enter(self, task: EpisodeTask) -> None:
        """Puts the ego at the start of its route, waiting up to 10 s of traffic for the place to be clear."""
        assert self._plan is not None and self._plan.route is not None and self._traffic is not None
        route = self._plan.route
        x, y, yaw = float(route.points[0, 0]), float(route.points[0, 1]), float(route.yaws_rad[0])
        for _ in range(10):
            if not self._blockers(x, y, yaw):
                break
            for _ in range(10):
                self._advance((x, y))
        for number in self._blockers(x, y, yaw):
            self._traffic.remove(number)
        self._progress, self._steps, self._control = 0, 0, Control()
        self._state = VehicleState(x, y, yaw)
        self._add_ego()
        self._move_ego()
        self._advance((x, y))

    def _add_ego(self) -> None:
        assert self._plan is not None
        name = f"ego{libsumo.simulation.getTime():.1f}"
        libsumo.route.add(name, self._roads_ahead())
        libsumo.vehicle.add(EGO, name, EGO, departLane="first", departPos="0", departSpeed="0")
        libsumo.vehicle.setLaneChangeMode(EGO, 0)

    def _roads_ahead(self) -> list[str]:
        """The ego's roads from where it is, and some beyond the goal, so that SUMO never calls it arrived."""
        assert self._plan is not None and self._plan.route is not None
        lane_ids = self._plan.route.lane_ids[self._progress :]
        roads: list[str] = []
        for lane in lane_ids:
            road = lane.rsplit("_", 1)[0]
            if not lane.startswith(":") and (not roads or roads[-1] != road):
                roads.append(road)
        if not roads:
            roads = [self._plan.roads[-1]]
        while len(roads) < 40:
            roads.append(min(self._graph.passages[roads[-1]]))
        return roads

    def _move_ego(self) -> None:
        state, half = self._state, self._vehicle.half_length_m
        libsumo.vehicle.moveToXY(
            EGO,
            "",
            -1,
            state.x + half * math.cos(state.yaw),
            state.y + half * math.sin(state.yaw),
            90.0 - math.degrees(state.yaw),
            keepRoute=2,
        )

    def step(self, control: Control) -> Scene:
        """Applies a control for 0.1 s.

        Raises:
            SimulatorError: No episode runs, the control is not finite, or SUMO fails.
        """
        if self._plan is None or self._traffic is None or self._pedestrians is None or not self._running:
            raise SimulatorError("no episode runs: call reset first")
        if not all(math.isfinite(value) for value in control):
            raise SimulatorError(f"{control} is not finite")
        self._control = Control(*(float(value) for value in control))
        self._state = self._vehicle.step(self._state, self._control, STEP_S)
        self._steps += 1
        with _sumo_errors():
            self._pedestrians.yield_to(self._ego())
            self._courtesy.yield_to(self._ego(), self._traffic.read())
            if EGO not in libsumo.vehicle.getIDList():
                self._add_ego()
            self._move_ego()
            self._advance((self._state.x, self._state.y))
            if self._steps % 10 == 0:
                self._look_ahead()
            return self._scene()

    def _look_ahead(self) -> None:
        """Follows the ego along the route; lengthens an endless one."""
        plan = self._plan
        assert plan is not None and plan.route is not None
        window = plan.route.points[self._progress : self._progress + 60]
        offsets = window - np.array([self._state.x, self._state.y])
        self._progress += int(np.argmin(np.sum(offsets * offsets, axis=1)))
        while plan.endless and plan.route.length_m - plan.route.distances_m[self._progress] < AHEAD_M + 30.0:
            self._planner.extend(plan)
        self._tell_roads()

    def _tell_roads(self) -> None:
        """Keeps SUMO's idea of where the ego goes right: others give way by it."""
        if EGO not in libsumo.vehicle.getIDList():
            return
        here = libsumo.vehicle.getRoadID(EGO)
        ahead = self._roads_ahead()
        if here not in ahead[:3]:
            return
        ahead = ahead[ahead.index(here) :]
        known = libsumo.vehicle.getRoute(EGO)[libsumo.vehicle.getRouteIndex(EGO) :]
        if list(known[:3]) != ahead[:3]:
            libsumo.vehicle.setRoute(EGO, ahead)

    def _ego(self) -> Ego:
        state = self._state
        return Ego(
            x=state.x,
            y=state.y,
            yaw=state.yaw,
            velocity=np.array([state.vx, state.vy]),
            acceleration=np.array([state.ax, state.ay]),
            half_length_m=self._vehicle.half_length_m,
            half_width_m=self._vehicle.half_width_m,
            control=self._control,
        )

    def _scene(self) -> Scene:
        assert self._plan is not None and self._plan.route is not None
        assert self._traffic is not None and self._pedestrians is not None
        walkers, on_pavement = self._pedestrians.read()
        colours, remaining = self._lights.read(libsumo.simulation.getTime())
        return Scene(
            map=self._map,
            route=self._plan.route,
            time_s=self._steps * STEP_S,
            ego=self._ego(),
            vehicles=self._traffic.read(),
            walkers=walkers,
            walker_on_pavement=on_pavement,
            light_colours=colours,
            light_remaining=remaining,
        )

    def close(self) -> None:
        """Ends the simulation. Safe to call twice."""
        if self._running:
            libsumo.close()
            self._running = False
        if SumoSimulator._living is self:
            SumoSimulator._living = None
