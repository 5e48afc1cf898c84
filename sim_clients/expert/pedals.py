"""From an acceleration to a pedal: the inverse of the vehicle model."""

from __future__ import annotations

from sim_clients.vehicle import VehicleModel


def pedal(acceleration: float, speed: float, model: VehicleModel) -> float:
    """Action in [-1, 1] (positive: throttle, negative: brake) for an acceleration in m/s^2 at a speed in m/s.

    Between the engine's drag and the lightest braking there is nothing to press: 0.
    """
    drag = model.drag_mps2 + model.drag_per_s * speed
    surplus = acceleration + drag
    if surplus >= 0.0:
        strongest = model.drive_mps2 * max(0.1, 1 - speed / model.drive_fades_mps)
        return min(1.0, surplus / strongest)
    return max(-1.0, surplus / model.brake_mps2)
