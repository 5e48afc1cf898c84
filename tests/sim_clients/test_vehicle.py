"""The ego's vehicle model drives like an ordinary car."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_clients.scene import STEP_S, Control
from sim_clients.vehicle import VehicleModel, VehicleState

MODEL = VehicleModel()


def drive(control: Control, steps: int, state: VehicleState | None = None) -> VehicleState:
    state = state or VehicleState(0.0, 0.0, 0.0)
    for _ in range(steps):
        state = MODEL.step(state, control, STEP_S)
    return state


def test_moderate_throttle_holds_six_metres_a_second() -> None:
    assert 5.0 < drive(Control(throttle=0.4), 400).speed_mps < 7.0
    assert drive(Control(throttle=1.0), 400).speed_mps > 10.0


def test_full_brake_stops_from_six_in_under_three_metres() -> None:
    state = drive(Control(brake=1.0), 20, VehicleState(0.0, 0.0, 0.0, vx=6.0))
    assert state.speed_mps == 0.0
    assert 1.5 < state.x < 3.0


def test_letting_go_rolls_out_slowly_and_never_reverses() -> None:
    after_one = drive(Control(), 10, VehicleState(0.0, 0.0, 0.0, vx=6.0))
    assert 4.0 < after_one.speed_mps < 5.5
    later = drive(Control(), 200, after_one)
    assert later.speed_mps == 0.0
    assert drive(Control(brake=1.0), 50, later)[:3] == later[:3]


def test_positive_steer_turns_right() -> None:
    right = drive(Control(0.4, 0.3, 0.0), 30)
    left = drive(Control(0.4, -0.3, 0.0), 30)
    assert right.yaw < -0.1 and right.y < -0.1
    assert left.yaw == pytest.approx(-right.yaw) and left.y == pytest.approx(-right.y)


def test_full_lock_circle_fits_a_street() -> None:
    state, positions = VehicleState(0.0, 0.0, 0.0, vx=2.0), []
    for _ in range(400):
        state = MODEL.step(state, Control(0.2, 1.0, 0.0), STEP_S)
        positions.append((state.x, state.y))
    width = max(y for _, y in positions) - min(y for _, y in positions)
    assert 6.0 < width < 12.0


def test_grip_limits_lateral_acceleration() -> None:
    state = VehicleState(0.0, 0.0, 0.0, vx=13.0)
    after = MODEL.step(state, Control(1.0, 1.0, 0.0), STEP_S)
    assert abs(after.yaw) / STEP_S * 13.0 < MODEL.grip_mps2 * 1.05


@given(
    st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2), st.floats(-math.pi, math.pi), st.floats(0.0, 15.0)
)
def test_any_control_keeps_the_state_sound(
    throttle: float, steer: float, brake: float, yaw: float, speed: float
) -> None:
    state = VehicleState(1.0, 2.0, yaw, vx=speed * math.cos(yaw), vy=speed * math.sin(yaw))
    after = MODEL.step(state, Control(throttle, steer, brake), STEP_S)
    assert all(math.isfinite(value) for value in after)
    assert 0.0 <= after.speed_mps < 16.0
    moved = math.hypot(after.x - state.x, after.y - state.y)
    assert moved <= max(speed, after.speed_mps) * STEP_S + 1e-9
    assert MODEL.step(state, Control(throttle, steer, brake), STEP_S) == after
