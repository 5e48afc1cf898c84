"""Who still owes feedback for what: each coach's answer to each marked key ends exactly once, with an age.

The client marks rows and counts what is outstanding; an environment that is owed more than its credits waits (the
paper's pause rule). What the ledger counts is also the drive's report: availability, ages, and reasons.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Tuple
from typing import Counter as CounterType

from codriver.v1 import feedback_pb2

RECENT_KEYS = 16384
"""Ended keys that are remembered, to tell a second answer from one that nobody asked for."""
_PREFIX = "UNAVAILABLE_REASON_"


class LedgerKey(NamedTuple):
    """One answer that is owed: coach and key. The session is the ledger's own."""

    coach: str
    env: int
    episode: int
    step: int


class Settled(NamedTuple):
    """One answer that ended.

    Attributes:
        key: Coach and key.
        age_steps: Steps that the environment has taken since, over episodes.
        feedback: The answer: a value, or unavailable with a reason.
    """

    key: LedgerKey
    age_steps: int
    feedback: feedback_pb2.Feedback

    @property
    def reason(self) -> str:
        """Why there is no value ("TIMED_OUT"); empty where there is one."""
        if self.feedback.WhichOneof("outcome") != "unavailable":
            return ""
        return reason_name(self.feedback.unavailable.reason)


class CoachAccount:
    """What became of one coach's answers.

    Attributes:
        values: Answers with a value.
        unavailable: Answers without one, by reason ("TIMED_OUT").
        ages: Values by their age in steps.
    """

    def __init__(self) -> None:
        self.values = 0
        self.unavailable: CounterType[str] = Counter()
        self.ages: CounterType[int] = Counter()

    @property
    def ended(self) -> int:
        """Answers that have ended."""
        return self.values + sum(self.unavailable.values())

    @property
    def availability(self) -> float:
        """Share of ended answers that have a value; NaN before the first."""
        return self.values / self.ended if self.ended else float("nan")

    def age(self, share: float) -> float:
        """Age in steps that this share of the values do not exceed; NaN without values."""
        wanted = share * self.values
        for age in sorted(self.ages):
            wanted -= self.ages[age]
            if wanted <= 0:
                return float(age)
        return float("nan")


class FeedbackLedger:
    """The ledger of one session.

    Args:
        coaches: Coaches that each marked row is put before.
        session_id: The session; feedback of another one is unknown. Empty: not compared.
        give_up_s: Longest wait for an answer; then :meth:`expire` ends it here. The server ends every request by its
            own timeout, so this is only for answers that got lost.
        clock: Monotonic seconds.

    Attributes:
        accounts: By coach.
        unknown: Answers that nobody asked for.
        duplicates: Second answers.
    """

    def __init__(
        self,
        coaches: Iterable[str],
        session_id: str = "",
        give_up_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.accounts: Dict[str, CoachAccount] = {coach: CoachAccount() for coach in coaches}
        self.unknown = 0
        self.duplicates = 0
        self._session_id, self._give_up_s, self._clock = session_id, give_up_s, clock
        self._pending: OrderedDict[LedgerKey, Tuple[int, float]] = OrderedDict()
        self._owed: CounterType[int] = Counter()
        self._taken: CounterType[int] = Counter()
        self._recent: OrderedDict[LedgerKey, None] = OrderedDict()

    @property
    def pending(self) -> int:
        """Answers that are owed, of all environments and coaches."""
        return len(self._pending)

    def outstanding(self, env: int) -> int:
        """Answers that an environment is owed."""
        return self._owed[env]

    def step(self, env: int) -> None:
        """Counts a step of an environment: everything that it is owed grows older."""
        self._taken[env] += 1

    def ask(self, env: int, episode: int, step: int) -> None:
        """Notes that a marked row was sent. A key that is sent again is asked once."""
        for coach in self.accounts:
            key = LedgerKey(coach, env, episode, step)
            if key not in self._pending and key not in self._recent:
                self._pending[key] = (self._taken[env], self._clock())
                self._owed[env] += 1

    def withdraw(self, env: int, episode: int, step: int) -> None:
        """Strikes a row out that ended in an error: the server did not ask about it."""
        for coach in self.accounts:
            self._strike(LedgerKey(coach, env, episode, step))

    def take(self, feedback: feedback_pb2.Feedback) -> Settled | None:
        """Settles an answer.

        Returns:
            What it settles; None for a second answer, or one that nobody asked for.
        """
        key = LedgerKey(feedback.coach, feedback.key.env, feedback.key.episode, feedback.key.step)
        foreign = self._session_id and feedback.key.session_id not in ("", self._session_id)
        found = None if foreign else self._strike(key)
        if found is None:
            if key in self._recent and not foreign:
                self.duplicates += 1
            else:
                self.unknown += 1
            return None
        self._recent[key] = None
        if len(self._recent) > RECENT_KEYS:
            self._recent.popitem(last=False)
        settled = Settled(key, self._taken[key.env] - found, feedback)
        account = self.accounts[key.coach]
        if settled.reason:
            account.unavailable[settled.reason] += 1
        else:
            account.values += 1
            account.ages[settled.age_steps] += 1
        return settled

    def restarted(self, detail: str = "the session was lost") -> List[Settled]:
        """Ends everything that is owed as RESTARTED: whoever lost the session will not hear of it any more."""
        reason = feedback_pb2.UNAVAILABLE_REASON_RESTARTED
        return [self._end(key, reason, detail) for key in list(self._pending)]

    def expire(self) -> List[Settled]:
        """Ends what has been owed for too long as TIMED_OUT; what still comes then is a duplicate."""
        ended = []
        latest = self._clock() - self._give_up_s
        while self._pending:
            key, (_, since) = next(iter(self._pending.items()))
            if since > latest:
                break
            detail = f"not a word from the server within {self._give_up_s:g} s"
            ended.append(self._end(key, feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT, detail))
        return ended

    def figures(self) -> Dict[str, Any]:
        """Figures by coach, JSON-able: asked, values, pending, availability, ages in steps, reasons.

        ``availability`` is over ended answers; what is pending at the end of a drive counts neither way. A figure
        that does not exist yet is None.
        """
        pending = Counter(key.coach for key in self._pending)
        return {
            coach: {
                "asked": account.ended + pending[coach],
                "values": account.values,
                "pending": pending[coach],
                "availability": _figure(account.availability),
                "age_steps_p50": _figure(account.age(0.5)),
                "age_steps_p95": _figure(account.age(0.95)),
                "age_steps_max": max(account.ages, default=None),
                "unavailable": dict(sorted(account.unavailable.items())),
            }
            for coach, account in self.accounts.items()
        }

    def _strike(self, key: LedgerKey) -> int | None:
        """Takes a key out of the pending ones; its environment's step count when it was asked, None if it is not."""
        found = self._pending.pop(key, None)
        if found is None:
            return None
        self._owed[key.env] -= 1
        return found[0]

    def _end(self, key: LedgerKey, reason: feedback_pb2.UnavailableReason, detail: str) -> Settled:
        settled = self.take(
            feedback_pb2.Feedback(
                key=feedback_pb2.FeedbackKey(
                    session_id=self._session_id, env=key.env, episode=key.episode, step=key.step
                ),
                coach=key.coach,
                unavailable=feedback_pb2.Unavailable(reason=reason, detail=detail),
            )
        )
        assert settled is not None, "a pending key ends once"
        return settled


def reason_name(reason: int) -> str:
    """An unavailable reason without its prefix: "TIMED_OUT"; its number where this release does not know it."""
    try:
        name = feedback_pb2.UnavailableReason.Name(reason)
    except ValueError:
        return str(reason)
    return str(name[len(_PREFIX) :])


def _figure(value: float) -> float | None:
    return None if value != value else round(value, 4)
