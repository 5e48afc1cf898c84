"""Battery current and fuel rate of the ego (Found-RL, energy metrics), in closed form.

Two modes. ``paper`` repeats the published numbers: acceleration enters by its norm, so that braking costs energy, and a
pack's voltage is used for one cell. ``physical`` takes the signed acceleration along the heading, regenerates when
braking, and uses a cell's voltage.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from sim_clients.scene import Ego

Mode = Literal["paper", "physical"]

MASS_KG = 1847.0
GRAVITY_MPS2 = 9.81
ROLLING = 0.01
DRAG = 0.23
AIR_KGPM3 = 1.226
FRONT_M2 = 2.2
ROTATING_ELECTRIC = 1.1
ROTATING_FUEL = 1.05
MOTOR_EFFICIENCY = 0.9
BATTERY_EFFICIENCY = 0.95
CELLS = 100 * 10
CELL_OHM = 0.1
PACK_VOLT = 370.0
CELL_VOLT = 3.7
ENGINE_EFFICIENCY = 0.3
FUEL_JPKG = 44e6


class Energy(NamedTuple):
    """What one instant costs.

    Attributes:
        icell_a: Current of one battery cell in A; negative while charging (physical mode only).
        fuel_kg_per_s: Fuel rate of the same car with a combustion engine.
    """

    icell_a: float
    fuel_kg_per_s: float


def energy(ego: Ego, mode: Mode) -> Energy:
    """Computes current and fuel rate from the ego's speed and acceleration."""
    ax, ay = float(ego.acceleration[0]), float(ego.acceleration[1])
    if mode == "paper":
        acceleration = math.hypot(ax, ay)
    else:
        acceleration = ax * math.cos(ego.yaw) + ay * math.sin(ego.yaw)
    return Energy(cell_current(ego.speed_mps, acceleration, mode), fuel_rate(ego.speed_mps, acceleration))


def cell_current(speed_mps: float, acceleration_mps2: float, mode: Mode) -> float:
    """Current of one cell in A.

    The cell's power P solves I (V - I R) = P: I = (V - sqrt(V^2 - 4 R P)) / (2 R). What a cell cannot deliver is cut at
    its maximum, V^2 / (4 R).

    Args:
        speed_mps: Speed, at least 0.
        acceleration_mps2: Acceleration; in paper mode at least 0.
        mode: See the module.
    """
    power = _force(speed_mps, acceleration_mps2, ROTATING_ELECTRIC) * speed_mps
    driving = power >= 0.0
    power = power / MOTOR_EFFICIENCY if driving else power * MOTOR_EFFICIENCY
    charging = mode == "physical" and not driving
    power = power * BATTERY_EFFICIENCY if charging else power / BATTERY_EFFICIENCY
    volt = PACK_VOLT if mode == "paper" else CELL_VOLT
    discriminant = max(volt * volt - 4.0 * CELL_OHM * power / CELLS, 0.0)
    return (volt - math.sqrt(discriminant)) / (2.0 * CELL_OHM)


def fuel_rate(speed_mps: float, acceleration_mps2: float) -> float:
    """Fuel rate in kg/s; 0 while the engine is dragged."""
    power = _force(speed_mps, acceleration_mps2, ROTATING_FUEL) * speed_mps
    return max(power, 0.0) / ENGINE_EFFICIENCY / FUEL_JPKG


def _force(speed_mps: float, acceleration_mps2: float, rotating: float) -> float:
    """Rolling resistance, drag and inertia in N."""
    drag = 0.5 * AIR_KGPM3 * DRAG * FRONT_M2 * speed_mps * speed_mps
    return MASS_KG * GRAVITY_MPS2 * ROLLING + drag + rotating * MASS_KG * acceleration_mps2
