"""One environment: a simulator with everything that is computed from its scene, stepped by 2-D actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codriver.driving import to_control
from sim_clients.metrics.episode import EpisodeMetrics, EpisodeRecord
from sim_clients.observation.observer import Observation, Observer
from sim_clients.reward import RewardTerms, reward
from sim_clients.rules.monitor import RuleMonitor, RuleReport
from sim_clients.scene import Control, Scene
from sim_clients.simulator import EpisodeTask, Simulator, SimulatorError
from sim_clients.termination import EndReason, Termination

Mode = Literal["train", "evaluate"]
PictureRule = Callable[[Scene, RuleReport], bool]


class StepKind(IntEnum):
    """Where a step stands in its episode; the values are those of ``codriver.v1.StepKind``."""

    FIRST = 1
    MID = 2
    TERMINATED = 3
    TRUNCATED = 4

    @property
    def last(self) -> bool:
        """True for the final observation of an episode."""
        return self in (StepKind.TERMINATED, StepKind.TRUNCATED)


@dataclass(frozen=True)
class StepResult:
    """What one step gives.

    Attributes:
        kind: Where the step stands in its episode.
        scene: The scene after the step.
        report: What the rules say of it.
        observation: What the policy sees of it.
        action: (2,) float32 action applied on the way into this scene; zeros in the first.
        terms: Reward terms of the transition into this scene; zeros in the first.
        end_reason: Why the episode ended, on its last step.
    """

    kind: StepKind
    scene: Scene
    report: RuleReport
    observation: Observation
    action: NDArray[np.float32]
    terms: RewardTerms
    end_reason: EndReason | None = None


class DrivingEnvironment:
    """Steps a simulator and computes observation, reward, termination and metrics from its scene.

    Args:
        simulator: The simulator; closed with the environment.
        mode: Which terminations hold.
        picture: True renders the RGB picture on every step; a function is asked at each whether to.
        max_steps: Cuts an episode (truncated) after this many steps; None: only the terminations end it.
    """

    def __init__(
        self,
        simulator: Simulator,
        mode: Mode,
        *,
        picture: bool | PictureRule = False,
        max_steps: int | None = None,
    ) -> None:
        self.simulator = simulator
        self.mode: Mode = mode
        self._picture = picture if callable(picture) else lambda scene, report: bool(picture)
        self.max_steps = max_steps
        self._observer = Observer(simulator.map)
        self._rules = RuleMonitor(simulator.map)
        self._termination = Termination(mode)
        self._metrics = EpisodeMetrics()
        self._previous = Control()
        self._steps = 0
        self._ended = False

    def reset(self, task: EpisodeTask) -> StepResult:
        """Begins an episode."""
        scene = self.simulator.reset(task)
        self._observer.reset()
        self._rules.reset(scene)
        self._termination = Termination(self.mode)
        self._metrics = EpisodeMetrics(task)
        self._previous = Control()
        self._steps = 0
        self._ended = False
        report = self._rules.update(scene)
        observation = self._observer.observe(scene, report, picture=self._picture(scene, report))
        terms = RewardTerms(0.0, 0.0, 0.0, 0.0, 0.0)
        return StepResult(StepKind.FIRST, scene, report, observation, np.zeros(2, np.float32), terms)

    def step(self, action: NDArray[np.float32]) -> StepResult:
        """Applies a 2-D action (acceleration, steer) for 0.1 s.

        Args:
            action: (2,) float32; clipped to -1..1.

        Raises:
            SimulatorError: The simulator failed, no episode has begun, or the last one has ended.
        """
        if self._ended:
            raise SimulatorError("the episode has ended: call reset before the next step")
        applied = np.clip(np.asarray(action, np.float32), -1.0, 1.0)
        control = Control(*(float(value) for value in to_control(applied)))
        scene = self.simulator.step(control)
        self._steps += 1
        report = self._rules.update(scene)
        observation = self._observer.observe(scene, report, picture=self._picture(scene, report))
        end = self._termination.update(scene, report, observation.pixel_collision)
        if end is None and self.max_steps is not None and self._steps >= self.max_steps:
            end = EndReason.STEP_LIMIT
        terms = reward(
            scene,
            report,
            self._previous,
            terminal=end is not None and end.punished,
            pixel_collision=observation.pixel_collision and self.mode == "train",
        )
        self._previous = control
        self._metrics.update(scene, report, terms)
        kind = StepKind.MID
        if end is not None:
            self._ended = True
            kind = StepKind.TRUNCATED if end.truncated else StepKind.TERMINATED
        return StepResult(kind, scene, report, observation, applied, terms, end)

    def record(self, end_reason: EndReason) -> EpisodeRecord:
        """Returns the finished episode's record."""
        return self._metrics.finish(end_reason)

    def close(self) -> None:
        """Closes the simulator."""
        self.simulator.close()
