"""The parent's side of the worker processes: start, talk, notice a death, replace."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field
from enum import Enum
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import numpy as np
from numpy.typing import NDArray

from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.messages import Row, decode_row, encode_action, encode_task
from sim_clients.drive.worker import run_worker
from sim_clients.simulator import EpisodeTask, SimulatorError

START_TIMEOUT_S = 120.0
STEP_TIMEOUT_S = 60.0
_DIED = "the simulator process died"


class WorkerState(Enum):
    """What a worker is doing."""

    IDLE = "idle"
    RESETTING = "resetting"
    STEPPING = "stepping"


@dataclass
class WorkerFailed:
    """A worker that died, hung, or gave up; it has been replaced when this is returned."""

    env: int
    reason: str


@dataclass
class _Worker:
    config: WorkerConfig
    process: BaseProcess
    pipe: Connection
    state: WorkerState = WorkerState.IDLE
    deadline: float = field(default=0.0)


class WorkerPool:
    """Worker processes, one environment each.

    Args:
        configs: One for each worker; ``env`` counts up from 0.
        max_failures: Failures of all workers together after which the pool gives up.

    Raises:
        SimulatorError: From :meth:`gather`, when workers fail more often than allowed, or at their very first task.
    """

    def __init__(self, configs: list[WorkerConfig], *, max_failures: int = 5) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._failures_left = max_failures
        self._delivered_once = False
        self._workers = [self._start(config) for config in configs]

    def _start(self, config: WorkerConfig) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=run_worker, args=(theirs, config.to_json()), name=f"codriver-env-{config.env}", daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(config, process, ours)

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def busy(self) -> bool:
        """True while a worker is about to send a row."""
        return any(worker.state is not WorkerState.IDLE for worker in self._workers)

    def begin(self, env: int, task: EpisodeTask, episode: int) -> None:
        """Orders a worker to begin an episode; its first row comes from a later :meth:`gather`."""
        self._send(env, encode_task(task, episode), WorkerState.RESETTING, START_TIMEOUT_S)

    def act(self, env: int, action: NDArray[np.float32] | None) -> None:
        """Orders a worker to apply an action, or to act by its own driver (None)."""
        self._send(env, encode_action(action), WorkerState.STEPPING, STEP_TIMEOUT_S)

    def _send(self, env: int, message: bytes, state: WorkerState, timeout_s: float) -> None:
        worker = self._workers[env]
        worker.state = state
        worker.deadline = time.monotonic() + timeout_s
        try:
            worker.pipe.send_bytes(message)
        except OSError:
            worker.deadline = 0.0  # noticed by the next gather

    def gather(
        self, *, together: bool = True, patience_s: float | None = None
    ) -> tuple[list[Row], list[WorkerFailed]]:
        """Waits for rows.

        Args:
            together: True waits for one row of every stepping worker (resetting ones are not waited for), so that
                they travel in one message. False returns as soon as there is any row.
            patience_s: Longest wait where nobody is stepping: none may come then. None: as long as it takes.

        Returns:
            Rows ordered by environment, and workers that failed meanwhile.
        """
        rows: list[Row] = []
        failed: list[WorkerFailed] = []
        end = None if patience_s is None else time.monotonic() + patience_s
        while True:
            stepping = any(worker.state is WorkerState.STEPPING for worker in self._workers)
            busy = {worker.pipe: worker for worker in self._workers if worker.state is not WorkerState.IDLE}
            if not busy or ((rows or failed) and not (stepping and together)):
                break
            if end is not None and not stepping and time.monotonic() >= end:
                break
            for pipe in wait(list(busy), timeout=0.5 if patience_s is None else min(0.5, patience_s)):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    message = worker.pipe.recv_bytes()
                except (EOFError, OSError):
                    failed.append(self._replace(worker, _DIED))
                    continue
                if message[:1] == b"X":
                    failed.append(self._replace(worker, message[1:].decode()))
                    continue
                self._delivered_once = True
                worker.state = WorkerState.IDLE
                rows.append(decode_row(message))
            now = time.monotonic()
            for worker in list(busy.values()):
                replaced = self._workers[worker.config.env] is not worker
                if not replaced and worker.state is not WorkerState.IDLE and now > worker.deadline:
                    reason = f"no answer from the simulator process ({worker.state.value})"
                    failed.append(self._replace(worker, reason if worker.process.is_alive() else _DIED))
        rows.sort(key=lambda row: row.batch.env[0])
        return rows, failed

    def _replace(self, worker: _Worker, reason: str) -> WorkerFailed:
        _stop(worker)
        self._failures_left -= 1
        if not self._delivered_once or self._failures_left < 0:
            raise SimulatorError(reason)
        env = worker.config.env
        self._workers[env] = self._start(worker.config)
        return WorkerFailed(env, reason)

    def close(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            try:
                worker.pipe.send_bytes(b"Q")
            except OSError:
                continue
        for worker in self._workers:
            worker.process.join(timeout=10.0)
            _stop(worker)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stop(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.terminate()
        worker.process.join(timeout=5.0)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.pipe.close()
