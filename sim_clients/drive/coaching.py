"""Feedback beside the drive: what is asked for at the session's opening, what is owed, and who must wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from codriver.coaching.ledger import FeedbackLedger, Settled
from codriver.drive_stream import DriveStream
from codriver.errors import CodriverError
from codriver.v1 import action_pb2, agent_service_pb2, feedback_pb2, observation_pb2
from sim_clients.drive.feedback_rule import MarkingRule

GIVE_UP_S = 300.0
"""Answers that are later than this are lost: every program on the way has timeouts well below."""
KINDS = {
    "vlm": feedback_pb2.FEEDBACK_KIND_VLM_ACTION,
    "clip": feedback_pb2.FEEDBACK_KIND_CLIP_REWARD,
}
"""Kinds of coaches by the word for them, which is also the default coach's name."""


@dataclass(frozen=True)
class CoachingRequest:
    """What a session asks for.

    Attributes:
        coaches: Name and kind ("vlm" or "clip") of each coach.
        rule: Which rows to mark.
        credits_per_env: Most unanswered requests of one environment; it waits while it has more. 0: no limit.
        timeout_ms: Longest wait for an answer. 0: the service's default.
        max_age_steps: Answers older than this are not worth computing. 0: no limit.
        give_up_s: What is not answered this long after its timeout got lost: it ends as timed out.
    """

    coaches: tuple[tuple[str, str], ...]
    rule: MarkingRule
    credits_per_env: int = 0
    timeout_ms: int = 0
    max_age_steps: int = 0
    give_up_s: float = GIVE_UP_S

    def fields(self) -> dict[str, Any]:
        """Returns the fields of ``OpenSessionRequest`` that ask for it."""
        return {
            "coaches": [
                feedback_pb2.CoachSelection(
                    coach=name, kind=KINDS[kind], timeout_ms=self.timeout_ms, max_age_steps=self.max_age_steps
                )
                for name, kind in self.coaches
            ],
            "feedback_rule": self.rule.to_message(),
            "feedback_credits_per_env": self.credits_per_env,
        }


class Coaching:
    """Feedback of one session.

    Args:
        stream: Its stream.
        request: What was asked for.
        info: What was agreed.

    Attributes:
        coaches: Granted coaches, by name.
        refused: Coaches that were asked for and are not granted.
        rule: The granted rule; no condition where no coach is granted.
        credits_per_env: Granted credits. 0: no limit.
        ledger: What is owed, and the figures.
        on_settled: Called with every answer that ends, in order.
        waits: How often an environment was held back for want of credits, in rows.
    """

    def __init__(
        self,
        stream: DriveStream,
        request: CoachingRequest,
        info: agent_service_pb2.OpenSessionResponse,
    ) -> None:
        self.coaches = tuple(selection.coach for selection in info.coaches)
        self.refused = tuple(name for name, _ in request.coaches if name not in self.coaches)
        granted = bool(self.coaches) and info.HasField("feedback_rule")
        self.rule = MarkingRule.from_message(info.feedback_rule) if granted else MarkingRule()
        self.credits_per_env = info.feedback_credits_per_env
        self.ledger = FeedbackLedger(
            self.coaches, info.session_id, request.give_up_s + request.timeout_ms / 1e3
        )
        self.on_settled: Callable[[Settled], None] | None = None
        self.waits = 0
        self._stream = stream

    def sent(self, batch: observation_pb2.ObservationBatch) -> None:
        """Notes rows that are about to be sent."""
        for row, env in enumerate(batch.env):
            self.ledger.step(env)
            if batch.wants_feedback and batch.wants_feedback[row]:
                self.ledger.ask(env, batch.episode[row], batch.step[row])

    def answered(self, actions: action_pb2.ActionBatch) -> None:
        """Notes an answer: rows that ended in an error are not asked about. Takes feedback that has come."""
        for row, env in enumerate(actions.env):
            if actions.status[row] == action_pb2.ACTION_STATUS_ERROR:
                self.ledger.withdraw(env, actions.episode[row], actions.step[row])
        self.collect()

    def collect(self, wait_s: float = 0.0) -> None:
        """Takes the feedback that has come; waits for some where there is none.

        Raises:
            CodriverError: The stream has ended; what was owed is settled as RESTARTED.
        """
        try:
            found = self._stream.wait_feedback(wait_s)
        except CodriverError:
            self.lost()
            raise
        self._settle(self.ledger.take(feedback) for feedback in found)
        self._settle(self.ledger.expire())

    def lost(self) -> None:
        """Settles everything that is owed: the session, and with it the answers, are lost."""
        self._settle(self.ledger.take(feedback) for feedback in self._stream.state.take_feedback())
        self._settle(self.ledger.restarted())

    def paused(self, env: int) -> bool:
        """True while an environment is owed more than its credits: it is left out of the next message."""
        return 0 < self.credits_per_env < self.ledger.outstanding(env)

    def figures(self) -> dict[str, Any]:
        """Figures of the drive, JSON-able."""
        return {
            "coaches": self.ledger.figures(),
            "refused": list(self.refused),
            "rule": {
                "every_k_steps": self.rule.every_k_steps,
                "risky_ttc_s": round(self.rule.risky_ttc_s, 4),
                "changed_share": round(self.rule.changed_share, 4),
            },
            "credits_per_env": self.credits_per_env,
            "rows_held_back": self.waits,
            "unknown": self.ledger.unknown,
            "duplicates": self.ledger.duplicates,
        }

    def _settle(self, ended: Iterable[Settled | None]) -> None:
        for settled in ended:
            if settled is not None and self.on_settled is not None:
                self.on_settled(settled)
