"""Longitudinal control laws: how hard to accelerate behind a vehicle, towards a stop, or freely."""

from __future__ import annotations

import math

_FULL_STOP = -3.0


def free_acceleration(speed: float, limit: float, acceleration: float, deceleration: float) -> float:
    """m/s^2 that brings the speed to the limit without overshoot: proportional, one second, clipped."""
    return min(acceleration, max(-deceleration * 1.5, 1.5 * (limit - speed)))


def follow_acceleration(
    speed: float,
    gap: float,
    lead_speed: float,
    *,
    standstill_gap: float,
    headway: float,
    acceleration: float,
    deceleration: float,
    hard_deceleration: float,
) -> float:
    """The interaction term of the intelligent driver model (Treiber, Hennecke and Helbing, 2000).

    Args:
        speed: Own speed, m/s.
        gap: Free metres up to the obstacle.
        lead_speed: Speed of the obstacle along the path, m/s, 0 for anything that stands.
        standstill_gap: Metres to keep when standing.
        headway: Seconds to keep when moving.
        acceleration: Largest acceleration, m/s^2.
        deceleration: Comfortable deceleration, m/s^2.
        hard_deceleration: Limit of the answer, m/s^2.

    Returns:
        Acceleration in m/s^2, between ``-hard_deceleration`` and ``acceleration``.
    """
    if gap <= 0.1:
        return -hard_deceleration
    if gap < standstill_gap + 0.3 and speed < 1.0 and lead_speed < 0.3:
        return _FULL_STOP
    approach = speed * (speed - lead_speed) / (2 * math.sqrt(acceleration * deceleration))
    wanted = standstill_gap + max(0.0, speed * headway + approach)
    return max(-hard_deceleration, acceleration * (1 - (wanted / gap) ** 2))


def stop_acceleration(
    speed: float, distance: float, *, deceleration: float, hard_deceleration: float
) -> float:
    """m/s^2 to stand still after ``distance`` metres: gentle until the comfortable deceleration is due.

    Far from the stop it allows any acceleration; from there on it asks for the constant deceleration that ends
    at the stop, and holds the brake when standing near it.
    """
    if distance <= 0.05:
        return -hard_deceleration if speed > 1.0 else _FULL_STOP
    if distance < 0.6 and speed < 0.6:
        return _FULL_STOP
    allowed = math.sqrt(2 * deceleration * distance)
    needed = speed * speed / (2 * distance)
    if needed > deceleration:
        return -min(hard_deceleration, needed + 0.5 * (needed - deceleration))
    return min(3.0, 2.0 * (allowed - speed) - deceleration * (speed / allowed) ** 4)
