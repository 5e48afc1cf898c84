"""Looks after models that stopped answering: makes sure of it, and loads them anew."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from feedback_service.triton.client import TritonClient
from feedback_service.triton.errors import TritonError, TritonReason
from feedback_service.triton.probe import calls_answered, probe

__all__ = ["Health", "ModelWatchdog", "WatchdogTimes"]

_log = logging.getLogger(__name__)


class Health(enum.Enum):
    """How a model was found, and left."""

    FINE = "fine"
    """It answers."""
    BUSY = "busy"
    """It does not answer in time, but it works."""
    RECOVERED = "recovered"
    """It did not answer; loaded anew, it does."""
    LOST = "lost"
    """It does not answer, and loading it anew did not help."""
    SERVER_AWAY = "server_away"
    """Triton itself does not answer; models come back with it."""
    UNWANTED = "unwanted"
    """No coach uses it any more."""


@dataclass(frozen=True)
class WatchdogTimes:
    """How patient the watchdog is.

    Attributes:
        silence_s: A model that answers nothing at all for this long hangs.
        unload_s: Longest time of an unload.
        load_s: Longest time of a load, imports included; one that takes longer hangs.
        pauses_s: Pause before each attempt to load a model anew; their number is that of the attempts.
        steady_s: A model that was fine for this long has all attempts again; before, each recovery costs the pause
            of one attempt more.
    """

    silence_s: float = 20.0
    unload_s: float = 10.0
    load_s: float = 600.0
    pauses_s: tuple[float, ...] = (0.0, 1.0, 5.0)
    steady_s: float = 120.0


@dataclass
class _Past:
    """What happened to one model lately."""

    recoveries: int = 0
    last: float = field(default_factory=time.monotonic)


class ModelWatchdog:
    """Recovers models by name; to be used inside one event loop.

    Args:
        client: Of the Triton that has them.
        end_stubs: Kills the processes of a model, where Triton is ours: the only way out of one that hangs.
        wanted: Whether a model is still to be served; asked right before it is loaded.
        say: Gets one line about everything that was wrong and what became of it; default: the log.
        times: How patient it is.
    """

    def __init__(
        self,
        client: TritonClient,
        *,
        end_stubs: Callable[[str], int] | None = None,
        wanted: Callable[[str], bool] = lambda model: True,
        say: Callable[[str], None] = _log.warning,
        times: WatchdogTimes = WatchdogTimes(),
    ) -> None:
        self._client = client
        self._end_stubs = end_stubs or (lambda model: 0)
        self._wanted = wanted
        self._say = say
        self._times = times
        self._tasks: dict[str, asyncio.Task[Health]] = {}
        self._past: dict[str, _Past] = {}

    def report(self, model: str) -> None:
        """A model seems not to answer; it is looked after in the background. A model under treatment is left to it."""
        self._task(model)

    async def check(self, model: str) -> Health:
        """Looks after a model, and says how it is left."""
        return await asyncio.shield(self._task(model))

    async def close(self) -> None:
        """Ends all treatment."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, model: str) -> asyncio.Task[Health]:
        task = self._tasks.get(model)
        if task is None:
            task = asyncio.create_task(self._look_after(model), name=f"watchdog-{model}")
            self._tasks[model] = task
            task.add_done_callback(lambda done: self._tasks.pop(model, None))
        return task

    async def _look_after(self, model: str) -> Health:
        health, problem = await self._examine(model)
        if health is not Health.LOST:
            if health is Health.SERVER_AWAY:
                self._say(f"{model}: Triton does not answer ({problem})")
            return health
        start = time.monotonic()
        past = self._past.setdefault(model, _Past())
        if start - past.last > self._times.steady_s:
            past.recoveries = 0
        first = problem
        pauses = self._times.pauses_s
        for attempt in range(len(pauses)):
            await asyncio.sleep(pauses[min(attempt + past.recoveries, len(pauses) - 1)])
            if not self._wanted(model):
                return Health.UNWANTED
            problem = await self._load_anew(model)
            if not problem:
                health, problem = await self._examine(model)
                if health is not Health.LOST:
                    past.recoveries += 1
                    past.last = time.monotonic()
                    self._say(f"{model} did not answer ({first}); loaded anew in {past.last - start:.1f} s")
                    return Health.RECOVERED if health is Health.FINE else health
        past.recoveries += 1
        past.last = time.monotonic()
        self._say(f"{model} does not answer ({first}), and {len(pauses)} loads did not help: {problem}")
        return Health.LOST

    async def _examine(self, model: str) -> tuple[Health, str]:
        """How the model is, and in words what is wrong with it."""
        before = await calls_answered(self._client, model)
        try:
            await probe(self._client, model, self._times.silence_s)
        except TritonError as error:
            if error.reason is TritonReason.UNREACHABLE:
                return Health.SERVER_AWAY, error.detail
            if error.reason is not TritonReason.TIMED_OUT:
                return Health.LOST, error.detail
            if await calls_answered(self._client, model) > before:
                return Health.BUSY, ""
            return Health.LOST, f"silent for {self._times.silence_s:g} s"
        return Health.FINE, ""

    async def _load_anew(self, model: str) -> str:
        """Unloads and loads the model; returns what went wrong, in words, empty: nothing."""
        self._end_stubs(model)
        try:
            await self._client.unload(model, self._times.unload_s)
        except TritonError as error:
            _log.info("unload of %s: %s", model, error)
        try:
            await self._client.load(model, self._times.load_s)
        except TritonError as error:
            if error.reason is TritonReason.TIMED_OUT:
                self._end_stubs(model)  # else the next load waits behind this one
                return f"a load took more than {self._times.load_s:g} s"
            return error.detail
        return ""
