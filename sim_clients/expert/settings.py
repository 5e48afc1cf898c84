"""The numbers that the expert drives by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExpertSettings:
    """Speeds in m/s, accelerations in m/s^2, distances in metres, times in seconds.

    The view limits reach a little beyond the bird's-eye view of the policy (36 m ahead and 26 m to each side, where
    the policy sees 30.4 m and 19.2 m): almost all that the expert does can be explained by what a policy sees.

    Attributes:
        speed: Target speed; the reward's v_max (Found-RL, section on the reward).
        lateral_acceleration: Comfortable limit in curves.
        acceleration: Largest acceleration.
        deceleration: Comfortable deceleration.
        hard_deceleration: Deceleration that the expert trusts in an emergency.
        headway: Time gap to the vehicle ahead.
        standstill_gap: Gap to a standing obstacle.
        line_gap: Gap between front bumper and stop line.
        meeting_gap: Distance kept to the place of a meeting.
        look_ahead: Length of the path that is examined.
        view_ahead, view_behind, view_side: Actors outside this box in the ego frame are not considered.
        horizon: How far other actors are predicted.
        time_step: Step of the prediction.
        side_margin: Added to the ego's half width in overlap tests.
        pavement_margin: The same for pedestrians on the pavement, who wait close to the lane.
        vehicle_margin_before, vehicle_margin_after: A crossing vehicle must come at least this much later than,
            or have passed this much earlier than, the ego.
        walker_margin: The same for pedestrians, both ways.
        walker_radius: Smallest half extent of a pedestrian on the road in overlap tests.
        pavement_horizon: How far a pedestrian on the pavement is predicted.
        pavement_deceleration: Such a one lets a car pass that would have to brake harder than this.
        patience: Standing time after which the margins begin to shrink.
    """

    speed: float = 6.0
    lateral_acceleration: float = 2.0
    acceleration: float = 2.0
    deceleration: float = 2.0
    hard_deceleration: float = 6.0
    headway: float = 1.0
    standstill_gap: float = 2.0
    line_gap: float = 1.0
    meeting_gap: float = 1.5
    look_ahead: float = 32.0
    view_ahead: float = 36.0
    view_behind: float = 14.0
    view_side: float = 26.0
    horizon: float = 5.0
    time_step: float = 0.25
    side_margin: float = 0.25
    pavement_margin: float = 0.1
    vehicle_margin_before: float = 1.2
    vehicle_margin_after: float = 0.6
    walker_margin: float = 1.0
    walker_radius: float = 0.5
    pavement_horizon: float = 3.0
    pavement_deceleration: float = 5.0
    patience: float = 20.0
