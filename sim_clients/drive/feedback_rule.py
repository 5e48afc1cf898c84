"""Which rows want feedback: the rule that was agreed in OpenSession, evaluated where the scene is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codriver.v1 import feedback_pb2
from sim_clients.rules.monitor import RuleReport
from sim_clients.rules.time_to_collision import time_to_collision
from sim_clients.scene import Scene


@dataclass(frozen=True)
class MarkingRule:
    """A ``codriver.v1.FeedbackRule`` in plain numbers; 0 switches a condition off.

    Attributes:
        every_k_steps: Marks every k-th step of an episode, from step 0.
        risky_ttc_s: Marks scenes with a time to collision under this.
        changed_share: Marks scenes whose picture differs from the last marked one in at least this share of pixels.
    """

    every_k_steps: int = 0
    risky_ttc_s: float = 0.0
    changed_share: float = 0.0

    @classmethod
    def from_message(cls, rule: feedback_pb2.FeedbackRule) -> MarkingRule:
        """Reads what a server granted."""
        return cls(rule.every_k_steps, rule.risky_ttc_s, rule.changed_share)

    def to_message(self) -> feedback_pb2.FeedbackRule:
        """Returns the rule as it is asked for."""
        return feedback_pb2.FeedbackRule(
            every_k_steps=self.every_k_steps, risky_ttc_s=self.risky_ttc_s, changed_share=self.changed_share
        )

    @property
    def marks_any(self) -> bool:
        """False if all conditions are off."""
        return self.every_k_steps > 0 or self.risky_ttc_s > 0 or self.changed_share > 0


class FeedbackMarker:
    """Decides for one environment which rows want feedback.

    A picture costs as much to draw as everything else that is observed, so it is asked for only where it may be
    needed: call :meth:`needs_picture` before observing, then :meth:`mark`.

    Args:
        rule: The rule in force.
    """

    def __init__(self, rule: MarkingRule) -> None:
        self._rule = rule
        self._step = 0
        self._due = False
        self._last: NDArray[np.uint8] | None = None

    def reset(self) -> None:
        """Begins an episode; the last marked picture stays known."""
        self._step = 0

    def needs_picture(self, scene: Scene, report: RuleReport) -> bool:
        """Looks at the next step's scene; True if its row may be marked. Call it once a step."""
        rule = self._rule
        self._due = rule.every_k_steps > 0 and self._step % rule.every_k_steps == 0
        if not self._due and rule.risky_ttc_s > 0:
            horizon = rule.risky_ttc_s
            self._due = time_to_collision(scene, report.progress, horizon) < horizon
        self._step += 1
        return self._due or rule.changed_share > 0

    def mark(self, picture: NDArray[np.uint8] | None, *, last: bool) -> bool:
        """Decides about the step that was looked at.

        Args:
            picture: (192, 192, 3) uint8, if it was drawn.
            last: True for the final observation of an episode: no action follows it, so it is never marked.

        Returns:
            True if the row wants feedback.
        """
        if last or picture is None:
            return False
        marked = self._due or self._changed(picture)
        if marked:
            self._last = picture
        return marked

    def _changed(self, picture: NDArray[np.uint8]) -> bool:
        share = self._rule.changed_share
        if share <= 0:
            return False
        return self._last is None or changed_share(self._last, picture) >= share


def changed_share(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> float:
    """Share of pixels, 0 to 1, in which two pictures (H, W, 3) differ."""
    return float((before != now).any(axis=-1).mean())
