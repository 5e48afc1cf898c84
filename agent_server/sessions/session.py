"""One session: what was agreed, which keys are next, and what it may have in flight."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agent_server.policy_store import LoadedPolicy, PolicyStore
from agent_server.sessions.checks import Layout
from agent_server.sessions.keys import EnvRecord
from codriver.errors import CodriverError
from codriver.v1 import action_pb2, agent_service_pb2

if TYPE_CHECKING:
    from agent_server.sessions.exchange import Exchange


@dataclass(frozen=True)
class Agreement:
    """What OpenSession settled.

    Attributes:
        client_name: Who called, for logs.
        num_envs: Environments.
        layout: What messages look like.
        action_spec: The session's actions.
        policy_id: Policy to drive with.
        pinned_version: Its version; 0 follows swaps.
        seed: Seed in force.
        stochastic: True: actions are sampled.
        deadline_s: Time from receipt to answer; 0: none.
        fallback: What a late row gets.
        frames_in_flight: Granted rows in flight.
    """

    client_name: str
    num_envs: int
    layout: Layout
    action_spec: action_pb2.ActionSpec
    policy_id: str
    pinned_version: int
    seed: int
    stochastic: bool
    deadline_s: float
    fallback: action_pb2.Fallback
    frames_in_flight: int


class Stream(Protocol):
    """An attached Drive stream, as far as others may touch it."""

    def send(self, message: bytes) -> None:
        """Queues a serialised ``DriveResponse``."""

    def end(self, error: CodriverError | None = None) -> None:
        """Reads no more, answers what is in flight, then ends with OK or with the error."""


class Coached(Protocol):
    """A session's feedback, as far as its messages and streams touch it (a ``SessionFeedback``)."""

    def answered(self, exchange: Exchange) -> None:
        """A message has its actions, which are not yet sent."""

    def attached(self) -> None:
        """A stream is attached."""

    def detached(self, cleanly: bool) -> None:
        """The stream is gone; cleanly: its client has read everything."""


@dataclass(eq=False)
class Session:
    """A session, for the event loop only.

    Attributes:
        session_id: Its name.
        resume_token: The secret that proves that a caller is its client.
        agreement: What was agreed.
        records: Environments that have appeared, by number.
        rows_in_flight: Rows received and not yet answered.
        stream: The attached stream; None: none is.
        feedback: Its feedback; None: it has no coaches.
        calls: Act calls in progress.
        last_active: Monotonic time of the last sign of life.
        closed: True: it takes no more messages.
        counts: What CloseSession reports.
    """

    session_id: str
    resume_token: str = field(repr=False)
    agreement: Agreement
    records: dict[int, EnvRecord] = field(default_factory=dict)
    rows_in_flight: int = 0
    stream: Stream | None = None
    feedback: Coached | None = None
    calls: int = 0
    last_active: float = field(default_factory=time.monotonic)
    closed: bool = False
    counts: agent_service_pb2.CloseSessionResponse = field(
        default_factory=agent_service_pb2.CloseSessionResponse
    )
    _when_quiet: list[Callable[[], None]] = field(default_factory=list)

    def policy(self, store: PolicyStore) -> LoadedPolicy:
        """The policy that answers now.

        Raises:
            NotFoundError: The pinned version was unloaded.
        """
        return store.find(self.agreement.policy_id, self.agreement.pinned_version)

    def touch(self) -> None:
        """Notes a sign of life."""
        self.last_active = time.monotonic()

    def idle_s(self, now: float) -> float:
        """Seconds without stream, call and row in flight; 0 while there is one."""
        busy = self.stream is not None or self.calls or self.rows_in_flight
        return 0.0 if busy else now - self.last_active

    def rows_done(self, rows: int) -> None:
        """Gives back credits."""
        self.rows_in_flight -= rows
        if not self.rows_in_flight:
            self.touch()
            waiting, self._when_quiet = self._when_quiet, []
            for call in waiting:
                call()

    def when_quiet(self, call: Callable[[], None]) -> None:
        """Calls back when no row is in flight; at once when none is."""
        if self.rows_in_flight:
            self._when_quiet.append(call)
        else:
            call()

    def answered(self) -> list[agent_service_pb2.LoggedUpTo]:
        """Per environment, the last key with an answer."""
        found = []
        for env, record in sorted(self.records.items()):
            episode, step = record.episode, record.step
            if record.exchange is None or record.exchange.message is None:
                if record.before is None or record.before[0].message is None:
                    continue
                step -= 1
            found.append(agent_service_pb2.LoggedUpTo(env=env, episode=episode, step=step))
        return found
