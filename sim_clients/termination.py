"""When an episode ends (Found-RL, terminations used in training and evaluation)."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from sim_clients.rules.collisions import HitKind
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import Scene

BLOCKED_MPS = 0.1
BLOCKED_S = 90.0
TIMEOUT_S = 1200.0
ROUTE_LEFT_M = 3.5
ROUTE_JUMP_M = 0.8
"""A lateral distance that grows by more than this in one step is a new route beside the ego, not its driving."""
ROUTE_SLACK_M = 0.01
_CLOCK_SLACK_S = 1e-6
"""Simulated time is a sum of tenths; it must not end an episode one step early or late."""


class EndReason(Enum):
    """Why an episode ended. The values stand in episode logs."""

    COLLISION_VEHICLE = "collision_vehicle"
    COLLISION_WALKER = "collision_walker"
    COLLISION_STATIC = "collision_static"
    RED_LIGHT = "red_light"
    STOP_SIGN = "stop_sign"
    ROUTE_LEFT = "route_left"
    BLOCKED = "blocked"
    PIXEL_COLLISION = "pixel_collision"
    TIMEOUT = "timeout"
    ROUTE_COMPLETED = "route_completed"
    STEP_LIMIT = "step_limit"
    """The caller's cap on the length of an episode, not a rule."""
    FAILED = "failed"
    """The simulator or the connection broke; in an evaluation the episode counts as having completed nothing."""

    @property
    def truncated(self) -> bool:
        """True if the task could have gone on: a learner bootstraps from the last observation."""
        return self in (
            EndReason.TIMEOUT,
            EndReason.ROUTE_COMPLETED,
            EndReason.STEP_LIMIT,
            EndReason.FAILED,
        )

    @property
    def punished(self) -> bool:
        """True if the reward's terminal term applies: every end, a timeout included, but completion and cuts."""
        return self is EndReason.TIMEOUT or not self.truncated


_HITS = {
    HitKind.VEHICLE: EndReason.COLLISION_VEHICLE,
    HitKind.WALKER: EndReason.COLLISION_WALKER,
    HitKind.STATIC: EndReason.COLLISION_STATIC,
}


class Termination:
    """Decides on each step whether the episode ends. One object per episode.

    Both modes end on collisions, on a red light or a stop sign that was run, on leaving the route, on standing for more
    than 90 s and on completing the route (which an endless training route never is). Training also ends on a
    pixel collision, evaluation after 1,200 s.

    Args:
        mode: "train" or "evaluate".

    Raises:
        ValueError: An unknown mode.
    """

    def __init__(self, mode: Literal["train", "evaluate"]) -> None:
        if mode not in ("train", "evaluate"):
            raise ValueError(f"unknown termination mode {mode!r}; use 'train' or 'evaluate'")
        self._evaluate = mode == "evaluate"
        self._moved_s: float | None = None
        self._lateral_m: float | None = None

    def update(self, scene: Scene, report: RuleReport, pixel_collision: bool) -> EndReason | None:
        """Returns why the episode ends with this scene, or None if it goes on.

        Where several reasons hold, infractions go before the rest, in the order of ``EndReason``.
        """
        left = self._route_left(abs(report.progress.lateral_m))
        blocked = self._blocked(scene)
        if report.hits:
            kinds = {hit.kind for hit in report.hits}
            return next(reason for kind, reason in _HITS.items() if kind in kinds)
        checks = (
            (report.ran_red, EndReason.RED_LIGHT),
            (report.ran_stop, EndReason.STOP_SIGN),
            (left, EndReason.ROUTE_LEFT),
            (blocked, EndReason.BLOCKED),
            (pixel_collision and not self._evaluate, EndReason.PIXEL_COLLISION),
            (report.progress.completed, EndReason.ROUTE_COMPLETED),
            (self._evaluate and scene.time_s > TIMEOUT_S - _CLOCK_SLACK_S, EndReason.TIMEOUT),
        )
        return next((reason for holds, reason in checks if holds), None)

    def _blocked(self, scene: Scene) -> bool:
        if self._moved_s is None or scene.ego.speed_mps >= BLOCKED_MPS:
            self._moved_s = scene.time_s
        return scene.time_s - self._moved_s > BLOCKED_S + _CLOCK_SLACK_S

    def _route_left(self, lateral_m: float) -> bool:
        before = lateral_m if self._lateral_m is None else self._lateral_m
        self._lateral_m = lateral_m
        if lateral_m - before > ROUTE_JUMP_M:
            return False
        return lateral_m > max(ROUTE_LEFT_M, before) + ROUTE_SLACK_M
