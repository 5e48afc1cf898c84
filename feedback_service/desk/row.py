"""One observation that a coach was asked about, from its arrival to its answer."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

from codriver.v1 import feedback_pb2

if TYPE_CHECKING:
    from feedback_service.asking.call import Call
    from feedback_service.desk.asker import Asker
    from feedback_service.desk.ways import EnvironmentWay


class RowKey(NamedTuple):
    """A FeedbackKey that can be looked up."""

    session_id: str
    env: int
    episode: int
    step: int

    @classmethod
    def of(cls, key: feedback_pb2.FeedbackKey) -> RowKey:
        """The same key."""
        return cls(key.session_id, key.env, key.episode, key.step)

    def to_wire(self) -> feedback_pb2.FeedbackKey:
        """The same key as a message."""
        return feedback_pb2.FeedbackKey(
            session_id=self.session_id, env=self.env, episode=self.episode, step=self.step
        )


class RowState(enum.Enum):
    """Where a row is. It leaves DONE never."""

    IDLE = "idle"
    """Neither in the queue nor in a call: just asked, just taken out, or before another attempt."""
    QUEUED = "queued"
    """In the coach's queue."""
    CALLING = "calling"
    """Part of a call."""
    DONE = "done"
    """Answered."""


class Row:
    """One computation of a coach; everyone who asked for its key waits for it.

    Attributes:
        key: Key of the observation, unique at a coach.
        picture: PNG file. Dropped with the answer.
        told: What the model is told beside the picture (see ``CoachKind.told``).
        same: Equal for rows to which a model gives the same answer.
        fingerprint: Equal for equal pictures and contexts.
        max_age_steps: Largest age at which it is worth a call; 0 is any.
        way: Its environment's way.
        position: Where its step lies on that way.
        asked_at: When it came, on the loop's clock.
        deadline: When it ends unanswered, on the loop's clock.
        askers: Who waits; an asker that asked twice is in it twice.
        state: Where it is.
        timer: Fires at the deadline.
        grace: Fires when nobody has come back for it; None: somebody waits.
        call: The call that it is part of.
        waited_s: Time in the queue, once it has left it.
        attempts: Calls that it was part of.
    """

    __slots__ = (
        "asked_at",
        "askers",
        "attempts",
        "call",
        "deadline",
        "fingerprint",
        "grace",
        "key",
        "max_age_steps",
        "picture",
        "position",
        "same",
        "state",
        "timer",
        "told",
        "waited_s",
        "way",
    )

    def __init__(
        self,
        key: RowKey,
        picture: bytes,
        told: Any,
        same: Hashable,
        fingerprint: bytes,
        max_age_steps: int,
        way: EnvironmentWay,
        asked_at: float,
        deadline: float,
    ) -> None:
        self.key = key
        self.picture = picture
        self.told = told
        self.same = same
        self.fingerprint = fingerprint
        self.max_age_steps = max_age_steps
        self.way = way
        self.position = way.position(key.episode, key.step)
        self.asked_at = asked_at
        self.deadline = deadline
        self.askers: list[Asker] = []
        self.state = RowState.IDLE
        self.timer: asyncio.TimerHandle | None = None
        self.grace: asyncio.TimerHandle | None = None
        self.call: Call | None = None
        self.waited_s = 0.0
        self.attempts = 0

    def stop_grace(self) -> None:
        """Somebody waits for it again, or it ends."""
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None

    @property
    def age_steps(self) -> int:
        """Steps that its environment has taken since."""
        return self.way.age(self.position)

    @property
    def stale(self) -> bool:
        """Whether it is older than its asker wants it to be."""
        return 0 < self.max_age_steps < self.age_steps
