"""What stands behind the coaches: Triton, found or started, and its models, brought up while the service answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

from feedback_service import coach_environment
from feedback_service.coach_environment import CoachEnvironment, CoachEnvironmentError
from feedback_service.config import EMBEDDED, Options
from feedback_service.contract import USUAL_MODELS
from feedback_service.desk.desk import Desk
from feedback_service.registry.inspect import KIND_WORDS
from feedback_service.registry.store import ModelStore
from feedback_service.registry.swap import ModelSwitch
from feedback_service.service.place import RepositoryPlace
from feedback_service.triton.embedded import EmbeddedTriton, TritonStartError
from feedback_service.triton.late_client import LateTritonClient
from feedback_service.triton.watchdog import Health, ModelWatchdog, WatchdogTimes

_log = logging.getLogger(__name__)
_SILENT_S = 10.0
"""A model that answered no call for this long, while it was called, is looked at."""


class Backing:
    """Triton and the models behind some coaches. Belongs to the event loop.

    Args:
        options: Which Triton, which models.
        desk: Has the coaches.
        client: Of Triton; it is told where that is.

    Attributes:
        switch: Which model stands behind which coach.
        triton_address: Where Triton speaks gRPC. Empty: it does not run yet.
    """

    def __init__(self, options: Options, desk: Desk, client: LateTritonClient) -> None:
        self._options, self._coaches, self._client = options, desk.coaches, client
        self._embedded: EmbeddedTriton | None = None
        self._watchdogs: dict[str, ModelWatchdog] = {}
        self._treated: dict[str, asyncio.Task[None]] = {}
        self._silent_since: dict[str, tuple[float, float]] = {}
        self.triton_address = ""
        store = ModelStore(options.store)
        place, fixed = None, {}
        if options.triton == EMBEDDED or options.repository is not None:
            place = RepositoryPlace(self._repository, options.model_options, self._end_stubs)
            for choice in options.coaches:
                if choice.model:
                    store.set_in_use(choice.settings.name, choice.model)
        else:
            fixed = {
                choice.settings.name: choice.model or USUAL_MODELS[KIND_WORDS[choice.settings.kind]]
                for choice in options.coaches
            }
        self.switch = ModelSwitch(store, desk, client, place, fixed)
        for name, coach in desk.coaches.items():
            coach.on_unhealthy = partial(self._unhealthy, name)

    async def run(self) -> None:
        """Brings everything up; returns when every coach has its model, or a reason why not."""
        if self._options.triton == EMBEDDED:
            try:
                await self._start_embedded()
            except (CoachEnvironmentError, TritonStartError) as error:
                _log.error("no Triton: %s", error)
                await self._say(str(error))
                return
        else:
            await self._client.connect(self._options.triton, self._options.triton_credentials())
            self.triton_address = self._options.triton
        await self.switch.start_all()
        await self.switch.settled()

    def call_ended(self, coach: str, result: str) -> None:
        """Hears of every call: those of a model that hangs end with the patience of whoever asked, one by one."""
        now = asyncio.get_running_loop().time()
        if result == "ok":
            self._silent_since.pop(coach, None)
            return
        since, latest = self._silent_since.get(coach, (now, now))
        since = since if now - latest < _SILENT_S else now  # in between, nobody asked
        self._silent_since[coach] = since, now
        if coach in self._watchdogs and now - since > _SILENT_S:
            del self._silent_since[coach]
            self._unhealthy(coach, f"no call was answered for {_SILENT_S:g} s")

    async def close(self) -> None:
        """Ends what was begun: of an embedded Triton, nothing is left; another one is left without our models."""
        for task in self._treated.values():
            task.cancel()
        for watchdog in self._watchdogs.values():
            await watchdog.close()
        await self.switch.close(unload=self._embedded is None)
        if self._embedded is not None:
            await self._embedded.stop()
        await self._client.close()

    async def _start_embedded(self) -> None:
        environment = coach_environment.find()
        if environment is None:
            await self._say("the models' environment is being installed")
            environment = await self._install()
        await self._say("Triton is being started")
        options = self._options
        self._embedded = EmbeddedTriton(
            options.store,
            environment,
            cores=options.triton_cores or None,
            threads=options.model_options.threads,
            on_restart=self._restarted,
        )
        await self._embedded.start()
        for name, coach in self._coaches.items():
            # silent for as long as a request may last: then none is answered anyway
            times = WatchdogTimes(silence_s=coach.settings.timeout_ms / 1e3)
            self._watchdogs[name] = ModelWatchdog(
                self._client, end_stubs=self._embedded.end_stubs, wanted=self._is_asked, times=times
            )
        self.triton_address = self._embedded.grpc_address
        await self._client.connect(self.triton_address)

    async def _install(self) -> CoachEnvironment:
        """Makes the environment in a process of its own, so that this one can end at any moment."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "feedback_service.coach_environment"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = ""
        try:
            async for content in process.stdout:
                line = content.decode("utf-8", "replace").strip() or line
                _log.info("%s", line)
                await self._say(f"the models' environment is being installed ({line[:200]})")
            await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                await process.wait()
        environment = coach_environment.find()
        if environment is None:
            raise CoachEnvironmentError(line[:400] or "the models' environment could not be installed")
        return environment

    async def _say(self, detail: str) -> None:
        """Lets every coach answer with a detail why it has no model yet."""
        for coach in self._coaches.values():
            await coach.switch(None, detail)

    async def _restarted(self) -> None:
        await self.switch.triton_restarted()

    def _unhealthy(self, coach: str, detail: str) -> None:
        """Looks after a coach whose calls fail, in the background."""
        if coach in self._treated:
            return
        _log.warning("coach %s: %s", coach, detail)
        task = asyncio.get_running_loop().create_task(self._look_after(coach))
        self._treated[coach] = task
        task.add_done_callback(lambda _: self._treated.pop(coach))

    async def _look_after(self, coach: str) -> None:
        route = self._coaches[coach].route
        if route is None:
            return
        # A model of our own Triton is loaded anew under its name; what that does not mend, the switch loads afresh.
        watchdog = self._watchdogs.get(coach)
        if watchdog is not None and await watchdog.check(route.model) is not Health.LOST:
            return
        self.switch.unhealthy(coach)

    def _is_asked(self, triton_model: str) -> bool:
        return any(c.route is not None and c.route.model == triton_model for c in self._coaches.values())

    def _repository(self) -> Path:
        if self._options.repository is not None:
            return self._options.repository
        if self._embedded is None:
            raise OSError("Triton is not started yet")
        return self._embedded.repository

    def _end_stubs(self, triton_model: str) -> int:
        return 0 if self._embedded is None else self._embedded.end_stubs(triton_model)
