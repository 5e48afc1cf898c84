"""The expert: the most cautious of a few small rules decides the acceleration, pure pursuit the steering."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim_clients.expert.following import follow_acceleration, free_acceleration, stop_acceleration
from sim_clients.expert.path import PathAhead, RouteCurve, free_run, path_ahead, speed_limits
from sim_clients.expert.pedals import pedal
from sim_clients.expert.right_of_way import RightOfWay
from sim_clients.expert.settings import ExpertSettings
from sim_clients.expert.steering import steer_towards
from sim_clients.expert.stop_points import StopPoints
from sim_clients.expert.stops import RouteStops
from sim_clients.expert.traffic import Traffic
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import Scene, SceneMap
from sim_clients.vehicle import VehicleModel


class Decision(NamedTuple):
    """What the expert decided, and why.

    Attributes:
        acceleration: Wanted acceleration, m/s^2.
        steer: -1..1, +1 to the right.
        reason: The rule that decided: "limit", "lead", "walker", "meeting", "light", "sign" or "exit".
        distance_m: Distance to what the rule stops for; infinite for "limit".
    """

    acceleration: float
    steer: float
    reason: str
    distance_m: float


class Expert:
    """Drives a route by the rules, from scenes alone.

    A nearly memoryless function of the scene: all that it remembers is how long the ego has been standing.

    Args:
        map: The map.
        settings: The numbers that it drives by.
        model: Pedals and steering of the car.
    """

    def __init__(
        self,
        map: SceneMap,
        settings: ExpertSettings | None = None,
        model: VehicleModel | None = None,
    ) -> None:
        self.settings = settings or ExpertSettings()
        self._map = map
        self._model = model or VehicleModel()
        self._traffic = Traffic(map, self.settings)
        self._right_of_way = RightOfWay(map, self._traffic.forecaster.rings)
        self._curve: RouteCurve | None = None
        self._moved_s = 0.0
        self.last_decision = Decision(0.0, 0.0, "limit", np.inf)

    def reset(self, scene: Scene) -> None:
        """Begins an episode with its first scene."""
        self._curve = None
        self._moved_s = scene.time_s

    def act(self, scene: Scene, report: RuleReport) -> NDArray[np.float32]:
        """Returns the (2,) float32 action: acceleration and steer, each in [-1, 1].

        Args:
            scene: The scene.
            report: What the rules say of it.
        """
        decision = self.decide(scene, report)
        self.last_decision = decision
        return self._action(scene, decision)

    def act_if(self, scene: Scene, report: RuleReport) -> NDArray[np.float32]:
        """Returns what :meth:`act` would, and remembers nothing (see :meth:`consider`)."""
        return self._action(scene, self.consider(scene, report))

    def _action(self, scene: Scene, decision: Decision) -> NDArray[np.float32]:
        throttle = pedal(decision.acceleration, scene.ego.speed_mps, self._model)
        return np.array([throttle, decision.steer], np.float32)

    def decide(self, scene: Scene, report: RuleReport) -> Decision:
        """Returns acceleration and steer with the reason. Arguments as for :meth:`act`."""
        if scene.ego.speed_mps > 0.5 or scene.time_s < self._moved_s:
            self._moved_s = scene.time_s
        return self.consider(scene, report)

    def consider(self, scene: Scene, report: RuleReport) -> Decision:
        """Decides as :meth:`decide` does and remembers nothing: for scenes that are not quite what happened."""
        curve = self._follow_route(scene)
        ego, settings = scene.ego, self.settings
        distance, lateral = curve.project(ego.x, ego.y, report.progress.distance_m)
        path = path_ahead(curve, ego, distance, lateral, settings.look_ahead)
        limits = speed_limits(path, settings.speed, settings.lateral_acceleration, settings.deceleration)
        steer = steer_towards(curve, ego, distance, self._model)
        free = free_acceleration(
            ego.speed_mps, float(limits[0]), settings.acceleration, settings.deceleration
        )
        best = Decision(free, steer, "limit", np.inf)
        for reason, gap, acceleration in self._restraints(scene, report, path, limits):
            if acceleration < best.acceleration:
                best = Decision(acceleration, steer, reason, gap)
        return best

    def _follow_route(self, scene: Scene) -> RouteCurve:
        if self._curve is None or self._curve.route is not scene.route:
            self._curve = RouteCurve(scene.route)
            self._stops = RouteStops(self._map, scene.route)
            self._stop_points = StopPoints(self._stops, self.settings)
        return self._curve

    def _restraints(
        self, scene: Scene, report: RuleReport, path: PathAhead, limits: NDArray[np.float64]
    ) -> list[tuple[str, float, float]]:
        """(reason, gap, acceleration) of every rule that holds the ego back."""
        settings, speed = self.settings, scene.ego.speed_mps
        times = self._traffic.forecaster.times
        run = free_run(limits, speed, settings.acceleration, times)
        patience = min(1.0, settings.patience / max(scene.time_s - self._moved_s, 1e-3))
        view = self._traffic.look(scene, path, run, patience)
        restraints = []
        for kind, obstacle in view.obstacles:
            wanted = follow_acceleration(
                speed,
                obstacle.gap_m,
                obstacle.speed_mps,
                standstill_gap=settings.standstill_gap,
                headway=settings.headway,
                acceleration=settings.acceleration,
                deceleration=settings.deceleration,
                hard_deceleration=settings.hard_deceleration,
            )
            restraints.append((kind, obstacle.gap_m, wanted))
        points = self._stop_points.signals(scene, report, path.start_m)
        points += self._stop_points.exits(scene, path.start_m, view.leads)
        for kind, meeting, future in view.meetings:
            if kind == "meeting" and self._right_of_way.ego_first(scene, report, future):
                continue
            stop = meeting.stop_m - settings.meeting_gap
            if kind == "meeting":
                stop = self._stop_points.before_junction(scene, path.start_m, stop)
            points.append((kind, stop))
        for kind, distance in points:
            wanted = stop_acceleration(
                speed,
                distance,
                deceleration=settings.deceleration,
                hard_deceleration=settings.hard_deceleration,
            )
            restraints.append((kind, distance, wanted))
        return restraints
