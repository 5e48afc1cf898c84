"""Keys: which (episode, step) may follow in an environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from agent_server.sessions.outcomes import Refusal, StoredRow
from codriver.v1 import action_pb2, observation_pb2

FIRST = observation_pb2.STEP_KIND_FIRST
MID = observation_pb2.STEP_KIND_MID
FINAL = frozenset({observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED})

_OUT_OF_ORDER = action_pb2.FRAME_ERROR_REASON_OUT_OF_ORDER
_EXPIRED = action_pb2.FRAME_ERROR_REASON_EXPIRED_KEY


class Carrier(Protocol):
    """A message that carried a key, with its answer when there is one (an ``Exchange``)."""

    request: observation_pb2.ObservationBatch
    message: bytes | None

    def row(self, row: int) -> StoredRow | None:
        """The answer to one row; None: not yet."""

    def then(self, listener: Callable[[bytes], None]) -> None:
        """Calls back with the answer, at once when it is there."""


class Order(Enum):
    """Where an acceptable key stands."""

    NEXT = "next"
    REPEATED = "repeated"


@dataclass(slots=True)
class EnvRecord:
    """What the server remembers of one environment: its last key, and the message that carried it.

    Attributes:
        episode: Episode of the last key; -1 before the first one.
        step: Step of the last key.
        ended: True: the last key ended its episode.
        exchange: The message that carried the last key, with its answer when there is one.
        row: Its row in that message.
        before: The message and row before that one, in the same episode.
    """

    episode: int = -1
    step: int = -1
    ended: bool = False
    exchange: Carrier | None = None
    row: int = 0
    before: tuple[Carrier, int] | None = None

    def advance(self, episode: int, step: int, kind: int, exchange: Carrier, row: int) -> None:
        """Takes the next key (or the same one again, after an error)."""
        if (episode, step) != (self.episode, self.step):
            same = episode == self.episode and self.exchange is not None
            self.before = (self.exchange, self.row) if same and self.exchange is not None else None
        self.episode, self.step, self.ended = episode, step, kind in FINAL
        self.exchange, self.row = exchange, row


def judge(record: EnvRecord, episode: int, step: int, kind: int) -> Order | Refusal:
    """Whether a key may come now.

    An episode starts with STEP_KIND_FIRST at step 0 and a number above all earlier ones (an unfinished episode may be
    left for a new one); then steps count up by one until a final kind. The last key may be repeated.
    """
    if kind not in FINAL and kind not in (FIRST, MID):
        detail = f"step_kind is {kind}; send STEP_KIND_FIRST, _MID, _TERMINATED or _TRUNCATED"
        return Refusal(action_pb2.FRAME_ERROR_REASON_INVALID_STEP_KIND, "step_kind", detail)
    if episode == record.episode:
        if step == record.step:
            return Order.REPEATED
        if step == record.step + 1 and kind != FIRST and not record.ended:
            return Order.NEXT
    elif episode > record.episode and kind == FIRST and step == 0:
        return Order.NEXT
    return _refusal(record, episode, step, kind)


def _refusal(record: EnvRecord, episode: int, step: int, kind: int) -> Refusal:
    last = f"the last key was episode {record.episode}, step {record.step}"
    if (episode, step) < (record.episode, record.step):
        return Refusal(_EXPIRED, "step", f"{last}: the answer to episode {episode}, step {step} is not kept")
    if kind == FIRST and step != 0:
        return Refusal(_OUT_OF_ORDER, "step", f"step is {step}; STEP_KIND_FIRST has step 0")
    if episode == record.episode and record.ended:
        detail = f"episode {episode} ended at step {record.step}; start a higher one with STEP_KIND_FIRST at step 0"
        return Refusal(action_pb2.FRAME_ERROR_REASON_EPISODE_ENDED, "episode", detail)
    if record.episode < 0 or episode > record.episode:
        detail = f"episode {episode} starts with step {step}; start it with STEP_KIND_FIRST at step 0"
        return Refusal(_OUT_OF_ORDER, "step_kind" if step == 0 else "step", detail)
    if kind == FIRST:
        return Refusal(_OUT_OF_ORDER, "step_kind", f"{last}; STEP_KIND_FIRST needs a higher episode")
    return Refusal(_OUT_OF_ORDER, "step", f"{last}; send step {record.step + 1}, not {step}")
