"""The drive loop: rows of all environments in one message, actions back, episodes one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codriver.v1 import action_pb2, observation_pb2
from sim_clients.drive.coaching import Coaching
from sim_clients.drive.messages import Row, join_rows
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.reset_rule import ResetRule
from sim_clients.simulator import EpisodeTask

Answer = Callable[[observation_pb2.ObservationBatch], action_pb2.ActionBatch]
_WAIT_FOR_FEEDBACK_S = 1.0
_WAIT_FOR_RESETS_S = 0.02


@dataclass(frozen=True)
class Step:
    """One environment's step together with its answer, for views and logs.

    Attributes:
        row: The observation as sent.
        answer: The answered batch that holds this row, or None without a server.
        index: Position of the row in the answer.
    """

    row: Row
    answer: action_pb2.ActionBatch | None
    index: int


@dataclass(frozen=True)
class Episode:
    """An episode that ended.

    Attributes:
        env: Environment that drove it.
        position: Position of its task in the list of tasks.
        task: What was driven.
        record: The episode's record, or None when it failed.
        failure: Why it failed (a simulator died, the server refused a row), or None.
        cut_away: True if it was to be recorded and the cut before its violation left nothing.
    """

    env: int
    position: int
    task: EpisodeTask
    record: dict[str, Any] | None
    failure: str | None = None
    cut_away: bool = False


class DriveLoop:
    """Drives tasks until they are used up.

    Args:
        pool: The workers.
        tasks: What to drive; taken in order.
        answer: Sends a batch to the agent server and returns its actions. None: the workers' own drivers act.
        on_step: Called for every row.
        on_episode: Called for every episode that ends.
        max_rows: Stops after this many rows. None: no limit.
        reset_rule: Decides which episodes begin with a soft reset. None: as the tasks say.
        coaching: Feedback of the session: an environment that is owed too much of it waits. None: there is none.
    """

    def __init__(
        self,
        pool: WorkerPool,
        tasks: Iterator[EpisodeTask],
        answer: Answer | None,
        *,
        on_step: Callable[[Step], None] | None = None,
        on_episode: Callable[[Episode], None] | None = None,
        max_rows: int | None = None,
        reset_rule: ResetRule | None = None,
        coaching: Coaching | None = None,
    ) -> None:
        self._pool = pool
        self._tasks = enumerate(tasks)
        self._answer = answer
        self._on_step = on_step
        self._on_episode = on_episode
        self._rows_left = max_rows
        self._reset_rule = reset_rule
        self._coaching = coaching
        self._held: dict[int, Row] = {}
        self._last_returns: dict[int, float | None] = {}
        self._running: dict[int, tuple[int, EpisodeTask]] = {}
        self._episode_numbers = [0] * len(pool)

    def run(self) -> None:
        """Drives.

        Raises:
            SimulatorError: Simulators fail again and again.
            CodriverError: The agent server is gone or refuses the session.
        """
        for env in range(len(self._pool)):
            self._begin_next(env)
        while self._running:
            patience_s = _WAIT_FOR_RESETS_S if self._held else None
            rows, failed = self._pool.gather(together=self._answer is not None, patience_s=patience_s)
            for failure in failed:
                self._fail(failure.env, failure.reason)
            if self._coaching is not None:
                rows = self._admit(rows, self._coaching)
            if rows:
                self._handle(rows)
            if self._rows_left is not None:
                self._rows_left -= len(rows)
                if self._rows_left <= 0:
                    return

    def _admit(self, rows: list[Row], coaching: Coaching) -> list[Row]:
        """Holds back the rows of environments that are owed too much feedback, and lets go what was held back.

        A simulator waits for its action meanwhile. Where all of them wait, so does the loop, for feedback.
        """
        waiting = {row.batch.env[0]: row for row in rows}
        coaching.waits += sum(coaching.paused(env) for env in waiting)
        waiting.update(self._held)
        if self._held:
            alone = not rows and not self._pool.busy
            coaching.collect(_WAIT_FOR_FEEDBACK_S if alone else 0.0)
        self._held = {env: row for env, row in waiting.items() if coaching.paused(env)}
        return [row for env, row in sorted(waiting.items()) if env not in self._held]

    def _begin_next(self, env: int) -> None:
        item = next(self._tasks, None)
        if item is None:
            return
        position, task = item
        if self._reset_rule is not None:
            hard = self._reset_rule.hard(task.route_seed, self._last_returns.get(env))
            task = replace(task, hard_reset=hard)
        self._running[env] = position, task
        self._pool.begin(env, task, self._episode_numbers[env])
        self._episode_numbers[env] += 1

    def _end(self, env: int, row: Row) -> None:
        position, task = self._running.pop(env)
        record = row.info["record"]
        self._last_returns[env] = float(record.get("episode_return", 0.0))
        if self._on_episode is not None:
            cut_away = bool(row.info.get("cut_away", False))
            self._on_episode(Episode(env, position, task, record, cut_away=cut_away))
        self._begin_next(env)

    def _fail(self, env: int, reason: str) -> None:
        position, task = self._running.pop(env)
        self._last_returns[env] = None
        if self._on_episode is not None:
            self._on_episode(Episode(env, position, task, None, reason))
        self._begin_next(env)

    def _handle(self, rows: list[Row]) -> None:
        answer = self._answer(join_rows(rows)) if self._answer is not None else None
        width = len(answer.action) // len(rows) if answer is not None else 0
        errors = {error.row: error for error in answer.errors} if answer is not None else {}
        for index, row in enumerate(rows):
            env = row.batch.env[0]
            if self._on_step is not None:
                self._on_step(Step(row, answer, index))
            if index in errors:
                error = errors[index]
                name = action_pb2.FrameErrorReason.Name(error.reason)
                self._fail(env, f"{name} at {error.field or 'the row'}: {error.detail}")
            elif row.last:
                self._end(env, row)
            elif answer is None:
                self._pool.act(env, None)
            else:
                values = answer.action[index * width : (index + 1) * width]
                self._pool.act(env, np.array(values, np.float32))
