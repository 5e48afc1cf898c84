"""The ego's motion in simulators without vehicle physics: a kinematic bicycle with pedals.

Facts about an ordinary saloon (length 4.9 m, wheelbase 2.85 m): throttle 0.4 holds 6 m/s, letting go slows down
gently, full brake gives 8 m/s^2. Pure and deterministic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from sim_clients.geometry import wrap_angle
from sim_clients.scene import Control


class VehicleState(NamedTuple):
    """Motion of the box centre.

    Attributes:
        x, y, yaw: Pose in map coordinates; yaw counter-clockwise.
        vx, vy: Velocity in map axes, m/s.
        ax, ay: Mean acceleration over the last step in map axes, m/s^2.
    """

    x: float
    y: float
    yaw: float
    vx: float = 0.0
    vy: float = 0.0
    ax: float = 0.0
    ay: float = 0.0

    @property
    def speed_mps(self) -> float:
        """Planar speed."""
        return math.hypot(self.vx, self.vy)


@dataclass(frozen=True)
class VehicleModel:
    """Kinematic bicycle about the box centre, which lies midway between the axles. It never reverses.

    Attributes:
        half_length_m, half_width_m: Box.
        wheelbase_m: Distance between the axles.
        max_steer_rad: Wheel angle at steer 1.
        drive_mps2: Acceleration at full throttle from rest; falls linearly to zero at ``drive_fades_mps``.
        drive_fades_mps: Speed at which the engine has nothing left.
        drag_mps2, drag_per_s: Resistance ``drag_mps2 + drag_per_s * speed``, engine brake included.
        brake_mps2: Deceleration at full brake.
        grip_mps2: Most lateral acceleration; beyond it the car understeers.
    """

    half_length_m: float = 2.45
    half_width_m: float = 1.03
    wheelbase_m: float = 2.85
    max_steer_rad: float = 0.65
    drive_mps2: float = 4.5
    drive_fades_mps: float = 45.0
    drag_mps2: float = 0.35
    drag_per_s: float = 0.2
    brake_mps2: float = 8.0
    grip_mps2: float = 8.0

    def acceleration(self, speed_mps: float, control: Control) -> float:
        """Acceleration along the path at a speed, m/s^2 (at rest it may be negative: the car then stands)."""
        drive = self.drive_mps2 * _clip(control.throttle, 0.0, 1.0) * (1 - speed_mps / self.drive_fades_mps)
        resistance = self.drag_mps2 + self.drag_per_s * speed_mps
        return drive - resistance - self.brake_mps2 * _clip(control.brake, 0.0, 1.0)

    def step(self, state: VehicleState, control: Control, dt: float) -> VehicleState:
        """Moves on by ``dt`` seconds.

        Args:
            state: Where the vehicle is.
            control: Throttle, steer (+1 is right) and brake; values outside their range are clipped.
            dt: Seconds.
        """
        speed = state.speed_mps
        after = max(0.0, speed + self.acceleration(speed, control) * dt)
        mean = 0.5 * (speed + after)
        wheel = -_clip(control.steer, -1.0, 1.0) * self.max_steer_rad
        slip = math.atan(0.5 * math.tan(wheel))
        yaw_rate = mean * math.cos(slip) * math.tan(wheel) / self.wheelbase_m
        if abs(yaw_rate) * mean > self.grip_mps2:
            yaw_rate = math.copysign(self.grip_mps2 / mean, yaw_rate)
            slip = math.asin(_clip(0.5 * self.wheelbase_m * yaw_rate / mean, -1.0, 1.0))
        yaw = state.yaw + yaw_rate * dt
        course = 0.5 * (state.yaw + yaw) + slip
        vx, vy = after * math.cos(yaw + slip), after * math.sin(yaw + slip)
        return VehicleState(
            x=state.x + mean * math.cos(course) * dt,
            y=state.y + mean * math.sin(course) * dt,
            yaw=wrap_angle(yaw),
            vx=vx,
            vy=vy,
            ax=(vx - state.vx) / dt,
            ay=(vy - state.vy) / dt,
        )


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
