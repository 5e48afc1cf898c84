"""What coaches said of a drive, put beside what the policy did at the same keys."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.ledger import Settled
from codriver.coaching.margin import clip_margin
from codriver.driving import to_action, to_control
from sim_clients.demo.frames import Frame
from sim_clients.drive.coach_arguments import reason_words

MAX_KEPT = 100_000
Key = tuple[int, int, int]


@dataclass
class Advice:
    """Everything that was said of one marked row.

    Attributes:
        key: Environment, episode, step.
        time_s: Time of its scene.
        count: Rows of the environment before it, over episodes.
        applied: (2,) action that was really applied there; None until the next row says so.
        answers: Answers that ended, by coach.
    """

    key: Key
    time_s: float
    count: int
    applied: NDArray[np.float32] | None = None
    answers: dict[str, Settled] = field(default_factory=dict)

    def action(self, coach: str) -> NDArray[np.float32] | None:
        """(2,) acceleration and steer that a vision-language coach suggests; None without a value."""
        settled = self.answers.get(coach)
        if settled is None or settled.feedback.WhichOneof("outcome") != "vlm_action":
            return None
        said = settled.feedback.vlm_action
        return np.asarray(
            to_action(np.array([said.throttle, said.steer, said.brake], np.float32)), np.float32
        )

    def margin(self, coach: str) -> float | None:
        """The CLIP margin of the applied action, 0 to 1; None without a value, or before the action is known."""
        settled = self.answers.get(coach)
        if settled is None or self.applied is None or settled.feedback.WhichOneof("outcome") != "clip_reward":
            return None
        return float(clip_margin(settled.feedback.clip_reward.anchor_probabilities, to_control(self.applied)))

    def status(self, coach: str) -> str:
        """How many steps later the answer came ("14 later"), or why there is none."""
        settled = self.answers.get(coach)
        if settled is None:
            return "no answer yet"
        return (
            f"unavailable: {reason_words(settled.reason)}" if settled.reason else f"{settled.age_steps} later"
        )


class CoachBoard:
    """Keeps the advice of a drive by key.

    Args:
        coaches: Name and kind ("vlm" or "clip") of each coach.
    """

    def __init__(self, coaches: tuple[tuple[str, str], ...]) -> None:
        self.coaches = coaches
        self._advice: OrderedDict[Key, Advice] = OrderedDict()
        self._counts: dict[int, int] = {}
        self._latest: dict[tuple[int, str], Advice] = {}
        self._fresh: list[tuple[Advice, str]] = []

    def add(self, frame: Frame) -> None:
        """Takes a step: its key if it was marked, and the action that led to it."""
        before = self._advice.get((frame.env, frame.episode, frame.step - 1))
        if before is not None:
            before.applied = frame.applied
            self._fresh += [(before, coach) for coach in before.answers if before.margin(coach) is not None]
        count = self._counts.get(frame.env, 0)
        self._counts[frame.env] = count + 1
        if frame.marked:
            # An answer may be here before its own frame is.
            advice = self._of((frame.env, frame.episode, frame.step))
            advice.time_s, advice.count = frame.info["time_s"], count
            self._fresh += [(advice, coach) for coach in advice.answers if advice.action(coach) is not None]

    def settle(self, settled: Settled) -> None:
        """Takes an answer."""
        coach, *key = settled.key
        advice = self._of((key[0], key[1], key[2]))
        advice.answers[coach] = settled
        if settled.reason:
            return
        env = advice.key[0]
        latest = self._latest.get((env, coach))
        if latest is None or advice.key > latest.key:
            self._latest[env, coach] = advice
        if advice.count >= 0 and (advice.action(coach) is not None or advice.margin(coach) is not None):
            self._fresh.append((advice, coach))

    def fresh(self) -> list[tuple[Advice, str]]:
        """Returns what has become known since the last call: advice and the coach whose part of it is complete."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def latest(self, env: int, coach: str) -> Advice | None:
        """Returns the newest advice of a coach that has a value."""
        return self._latest.get((env, coach))

    def age(self, advice: Advice) -> int:
        """Returns how many steps its environment has taken since."""
        return self._counts.get(advice.key[0], 0) - 1 - advice.count

    def of(self, frame: Frame) -> Advice | None:
        """Returns the advice about a frame; None if it was not asked about."""
        return self._advice.get((frame.env, frame.episode, frame.step))

    def _of(self, key: Key) -> Advice:
        if key not in self._advice:
            self._advice[key] = Advice(key, 0.0, -1)
            if len(self._advice) > MAX_KEPT:
                self._advice.popitem(last=False)
        return self._advice[key]
