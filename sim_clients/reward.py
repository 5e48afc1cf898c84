"""The reward of one step (Found-RL, after Roach): speed, position, rotation, action and terminal terms."""

from __future__ import annotations

import math
from typing import NamedTuple

from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import Control, LightColour, Scene

MAX_SPEED_MPS = 6.0
RAMP_M = 5.0
VEHICLE_MARGIN_M = 8.0
WALKER_MARGIN_M = 6.0
LIGHT_MARGIN_M = 5.0
STOP_MARGIN_M = 5.0
"""Distances from centre to centre at which the desired speed reaches zero; it rises over the next 5 m."""
POSITION_WEIGHT = 0.5
STEER_CHANGE = 0.01
STEER_PENALTY = 0.1


class RewardTerms(NamedTuple):
    """The terms of a step's reward; all but ``speed`` are at most 0.

    Attributes:
        speed: 1 - |speed - desired speed| / 6 m/s.
        position: -0.5 for each metre beside the route.
        rotation: -1 for each radian across the route.
        action: -0.1 if the steer changed by more than 0.01.
        terminal: -1 at the end, and in addition -speed in m/s after an infraction.
    """

    speed: float
    position: float
    rotation: float
    action: float
    terminal: float

    @property
    def total(self) -> float:
        """The reward."""
        return self.speed + self.position + self.rotation + self.action + self.terminal


def desired_speed(report: RuleReport) -> float:
    """The speed in m/s that the reward asks for: 6, less in front of obstacles, red and yellow lights, stop signs."""
    speed = MAX_SPEED_MPS
    if report.vehicle_ahead is not None:
        speed = min(speed, _ramp(report.vehicle_ahead.distance_m, VEHICLE_MARGIN_M))
    if report.walker_ahead is not None:
        speed = min(speed, _ramp(report.walker_ahead.distance_m, WALKER_MARGIN_M))
    if report.light is not None and report.light.colour in (LightColour.RED, LightColour.YELLOW):
        speed = min(speed, _ramp(report.light.distance_m, LIGHT_MARGIN_M))
    if report.stop.active is not None:
        speed = min(speed, _ramp(report.stop.distance_m, STOP_MARGIN_M))
    return speed


def reward(
    scene: Scene, report: RuleReport, previous_control: Control, terminal: bool, pixel_collision: bool
) -> RewardTerms:
    """Computes the reward of the step into a scene.

    Args:
        scene: The scene after the step; ``scene.ego.control`` is the control that was applied.
        report: What the rules say of it.
        previous_control: The control applied on the step before.
        terminal: True if the episode ends here for any cause that the reward punishes
            (``EndReason.punished``).
        pixel_collision: The ego touches a walker in the BEV masks; pass False where that ends no episode.

    Returns:
        The terms; their sum is at most 1.
    """
    speed = scene.ego.speed_mps
    end = 0.0
    if terminal:
        end = -1.0
        if report.hits or report.ran_red or report.ran_stop or pixel_collision:
            end -= speed
    steered = abs(scene.ego.control.steer - previous_control.steer) > STEER_CHANGE
    return RewardTerms(
        speed=1.0 - abs(speed - desired_speed(report)) / MAX_SPEED_MPS,
        position=-POSITION_WEIGHT * abs(report.progress.lateral_m),
        rotation=-abs(report.progress.heading_error_rad),
        action=-STEER_PENALTY if steered else 0.0,
        terminal=end,
    )


def _ramp(distance_m: float, margin_m: float) -> float:
    if math.isinf(distance_m):
        return MAX_SPEED_MPS
    return MAX_SPEED_MPS * min(max(distance_m - margin_m, 0.0), RAMP_M) / RAMP_M
