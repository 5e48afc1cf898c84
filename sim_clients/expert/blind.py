"""The baseline: the expert's steering and speed profile, without eyes for traffic, lights and signs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim_clients.expert.following import free_acceleration
from sim_clients.expert.path import RouteCurve, path_ahead, speed_limits
from sim_clients.expert.pedals import pedal
from sim_clients.expert.settings import ExpertSettings
from sim_clients.expert.steering import steer_towards
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import Scene, SceneMap
from sim_clients.vehicle import VehicleModel


class BlindDriver:
    """Follows the route at the speed that its bends allow, and sees nothing else.

    Args:
        map: The map (not looked at; the same signature as ``Expert``).
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
        self._model = model or VehicleModel()
        self._curve: RouteCurve | None = None

    def reset(self, scene: Scene) -> None:
        """Begins an episode with its first scene."""
        self._curve = RouteCurve(scene.route)

    def act(self, scene: Scene, report: RuleReport) -> NDArray[np.float32]:
        """Returns the (2,) float32 action: acceleration and steer, each in [-1, 1]."""
        if self._curve is None or self._curve.route is not scene.route:
            self._curve = RouteCurve(scene.route)
        ego, settings = scene.ego, self.settings
        distance, lateral = self._curve.project(ego.x, ego.y, report.progress.distance_m)
        path = path_ahead(self._curve, ego, distance, lateral, settings.look_ahead)
        limits = speed_limits(path, settings.speed, settings.lateral_acceleration, settings.deceleration)
        wanted = free_acceleration(
            ego.speed_mps, float(limits[0]), settings.acceleration, settings.deceleration
        )
        steer = steer_towards(self._curve, ego, distance, self._model)
        return np.array([pedal(wanted, ego.speed_mps, self._model), steer], np.float32)
