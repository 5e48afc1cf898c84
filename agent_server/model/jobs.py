"""What crosses the boundary between sessions and model: jobs one way, replies the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple


class PolicyKey(NamedTuple):
    """Names one loaded version of a policy."""

    policy_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.policy_id}:{self.version}"


@dataclass(slots=True)
class Column:
    """One tensor's rows as they came.

    Attributes:
        data: The rows, one after the other.
        sizes: Size of each row in bytes; None when all are equal.
    """

    data: bytes | memoryview
    sizes: Sequence[int] | None = None

    def cut(self, start: int, stop: int, rows: int) -> Column:
        """Rows ``start`` to ``stop`` of ``rows``."""
        if start == 0 and stop == rows:
            return self
        if self.sizes is None:
            size = len(self.data) // rows
            return Column(self.data[start * size : stop * size])
        ends = list(accumulate(self.sizes, initial=0))
        return Column(self.data[ends[start] : ends[stop]], self.sizes[start:stop])


@dataclass(slots=True)
class ActJob:
    """Rows of one message that want an action (a :class:`agent_server.model.batcher.Job`).

    Attributes:
        model: Handle of the loaded policy, as its engine gave it.
        policy: Its id and version, for the answer.
        rows: Number of rows.
        env: Environment of each row.
        episode: Episode of each row.
        step: Step of each row.
        columns: Encoded tensors that are not optional, in the order of the policy's spec.
        received: ``time.monotonic()`` at receipt.
        deadline: When the answer is due, on the same clock; infinity: never.
        seed: Seed of exploration noise; None: all rows are deterministic.
        sampled: Which rows are sampled, where there is a seed.
        owner: Who waits; the model does not look at it.
        cancelled: True: nobody waits any more.
        started: When the first pass with rows of this job began; 0: not yet, or not known here.
        done: Answers of parts that have run (the runner's).
    """

    model: int
    policy: PolicyKey
    rows: int
    env: Sequence[int]
    episode: Sequence[int]
    step: Sequence[int]
    columns: list[Column]
    received: float
    deadline: float
    seed: int | None = None
    sampled: Sequence[bool] = ()
    owner: Any = None
    cancelled: bool = False
    started: float = 0.0
    done: list[Any] = field(default_factory=list)

    @property
    def lane(self) -> int:
        """Rows of one policy version share passes."""
        return self.model


@dataclass(slots=True)
class Reply:
    """A serialised ``DriveResponse`` with the job's actions, and how many of its rows are errors."""

    message: bytes
    errors: int
