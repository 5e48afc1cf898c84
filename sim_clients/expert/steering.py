"""Pure pursuit: steer for a point ahead on the route (Coulter, 1992)."""

from __future__ import annotations

import math

import numpy as np

from sim_clients.expert.path import RouteCurve
from sim_clients.scene import Ego
from sim_clients.vehicle import VehicleModel

_REACH_M = 2.5
_REACH_S = 0.55


def steer_towards(curve: RouteCurve, ego: Ego, distance_m: float, model: VehicleModel) -> float:
    """Steer in [-1, 1], +1 to the right, that brings the rear axle onto the route.

    Args:
        curve: The route.
        ego: The ego.
        distance_m: Its distance along the route.
        model: Wheelbase and steering range.
    """
    rear_x = ego.x - 0.5 * model.wheelbase_m * math.cos(ego.yaw)
    rear_y = ego.y - 0.5 * model.wheelbase_m * math.sin(ego.yaw)
    reach = 0.5 * model.wheelbase_m + _REACH_M + _REACH_S * ego.speed_mps
    (point,), _ = curve.at(np.array([distance_m - 0.5 * model.wheelbase_m + reach]))
    dx, dy = float(point[0]) - rear_x, float(point[1]) - rear_y
    away = math.hypot(dx, dy)
    bearing = math.atan2(dy, dx) - ego.yaw
    wheel = math.atan(2 * model.wheelbase_m * math.sin(bearing) / max(away, 1.0))
    return min(1.0, max(-1.0, -wheel / model.max_steer_rad))
