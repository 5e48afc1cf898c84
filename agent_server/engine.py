"""Event loop and model: jobs go in, and one wake-up of the loop a pass brings the answers back."""

from __future__ import annotations

import asyncio
import logging

from agent_server.batcher import Batcher, Finished
from agent_server.inference import ActJob, Reply, Runner
from agent_server.limits import Limits
from agent_server.sessions.exchange import Exchange

_log = logging.getLogger(__name__)


class Engine:
    """The batcher with its model, seen from the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        *,
        cap: int = 16,
        max_delay_s: float = 0.0,
        threads: int | None = None,
        cores: tuple[int, ...] = (),
    ) -> None:
        """Starts the model's thread.

        Args:
            loop: Where answers go.
            limits: The server's limits.
            cap: Most rows in a pass.
            max_delay_s: Longest wait for a fuller pass.
            threads: Threads of the model; None: as torch is set.
            cores: Cores that the model's thread keeps to. Empty: any.
        """
        self._loop = loop
        self.cap, self.threads = cap, threads
        self._batcher: Batcher[ActJob] = Batcher(
            Runner(threads, cores),
            self._deliver,
            cap=cap,
            max_delay_s=max_delay_s,
            max_waiting_rows=limits.max_waiting_rows,
        )

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for the model."""
        return self._batcher.waiting_rows

    def submit(self, job: ActJob) -> None:
        """Queues a job whose ``owner`` is an :class:`Exchange`.

        Raises:
            BatcherClosed: The engine is closed.
        """
        self._batcher.submit(job)

    async def close(self) -> None:
        """Runs what waits, hands it out and stops the model's thread."""
        await asyncio.to_thread(self._batcher.close)
        await asyncio.sleep(0)

    def _deliver(self, finished: list[Finished[ActJob]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_hand_out, finished)
        except RuntimeError:  # the loop is closed: nobody is left to answer
            _log.warning("%d answers came after the end of the server", len(finished))


def _hand_out(finished: list[Finished[ActJob]]) -> None:
    for done in finished:
        exchange: Exchange = done.job.owner
        reply: Reply | None = done.reply
        exchange.model_answered(reply, done.error)
