"""Engines: jobs go in, and one wake-up of the event loop a pass brings the answers back."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from agent_server.model.batcher import Batcher, Finished
from agent_server.model.jobs import ActJob, Reply
from agent_server.model.loading import load_warm, warm_up
from agent_server.model.runner import Runner
from agent_server.policies import Policy, PolicyCard

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who waits for a job: its ``owner``."""

    def model_answered(self, reply: Reply | None, error: BaseException | None) -> None:
        """Takes the model's answer, or the reason why there is none. Called on the event loop."""


class Engine(Protocol):
    """Where models run. Belongs to the event loop."""

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for a pass (some engines also count those in the running one)."""

    def submit(self, job: ActJob) -> None:
        """Queues a job; its ``owner`` hears of it once, unless it is cancelled.

        Raises:
            BatcherClosed: The engine is closed.
        """

    def cancel(self, job: ActJob) -> None:
        """Nobody waits for the job any more: it need not run."""

    async def load(self, source: str | Policy) -> tuple[int, PolicyCard]:
        """Loads and warms up a policy while others serve; its handle and card.

        Raises:
            CodriverError: It cannot be loaded, or does not answer.
        """

    def unload(self, handle: int) -> None:
        """Forgets a policy."""

    async def close(self) -> None:
        """Runs what waits, hands it out, and stops."""


class ThreadEngine:
    """An :class:`Engine` on a thread of this process."""

    def __init__(
        self,
        *,
        cap: int = 16,
        max_delay_s: float = 0.0,
        max_waiting_rows: int = 8192,
        threads: int | None = None,
        cores: tuple[int, ...] = (),
        runtime: str = "torch-fp32",
    ) -> None:
        """Starts the model's thread. Must be created on its event loop.

        Args:
            cap: Most rows in a pass.
            max_delay_s: Longest wait for a fuller pass.
            max_waiting_rows: Bound of the waiting room.
            threads: Threads of torch; None: as torch is set.
            cores: Cores that the model's thread keeps to. Empty: any.
            runtime: How policies run: ``torch-fp32`` or ``torch-bf16``.
        """
        self._loop = asyncio.get_running_loop()
        self._cap, self._threads, self._runtime = cap, threads, runtime
        self._models: dict[int, Policy] = {}
        self._handles = 0
        self._batcher: Batcher[ActJob] = Batcher(
            Runner(self._models, threads, cores),
            self._deliver,
            cap=cap,
            max_delay_s=max_delay_s,
            max_waiting_rows=max_waiting_rows,
        )

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for a pass."""
        return self._batcher.waiting_rows

    def submit(self, job: ActJob) -> None:
        """Queues a job."""
        self._batcher.submit(job)

    def cancel(self, job: ActJob) -> None:
        """Cancels a job."""
        job.cancelled = True

    async def load(self, source: str | Policy) -> tuple[int, PolicyCard]:
        """Loads and warms up a policy on another thread."""
        if isinstance(source, str):
            policy: Policy = await asyncio.to_thread(
                load_warm, source, self._cap, self._runtime, self._threads
            )
        else:
            policy = source
            await asyncio.to_thread(warm_up, policy, self._cap)
        self._handles += 1
        self._models[self._handles] = policy
        return self._handles, policy.card

    def unload(self, handle: int) -> None:
        """Forgets a policy."""
        self._models.pop(handle, None)

    async def close(self) -> None:
        """Runs what waits, hands it out, and stops the thread."""
        await asyncio.to_thread(self._batcher.close)
        await asyncio.sleep(0)

    def _deliver(self, finished: list[Finished[ActJob]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_hand_out, finished)
        except RuntimeError:  # the loop is closed: nobody is left to answer
            _log.warning("%d answers came after the end of the server", len(finished))


def _hand_out(finished: list[Finished[ActJob]]) -> None:
    for done in finished:
        owner: Owner = done.job.owner
        owner.model_answered(done.reply, done.error)
