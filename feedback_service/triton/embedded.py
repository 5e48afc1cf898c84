"""The Triton that the feedback service starts itself: the real one, on loopback, started again when it dies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from feedback_service.coach_facts import CoachEnvironment
from feedback_service.triton.backend_folder import assemble, process_environment
from feedback_service.triton.process import Ports, TritonProcess, TritonStartError
from feedback_service.triton.run_folder import RunFolder
from feedback_service.triton.server_log import last_words
from feedback_service.triton.stubs import end_stubs

__all__ = ["EmbeddedTriton", "TritonStartError"]

_log = logging.getLogger(__name__)
_ATTEMPTS = 5
"""With new ports each, should somebody else have taken one between the choice and the start."""
_BACKOFF_S = (0.2, 1.0, 3.0, 10.0, 30.0)
_STEADY_S = 60.0
"""A server that ran this long starts with the shortest pause again."""


class EmbeddedTriton:
    """Starts tritonserver with an empty model repository under explicit control, and keeps it running.

    To be used inside one event loop.

    Args:
        state_dir: Folder of the service's state; several services may share it.
        environment: Where Triton and what its models need is installed.
        cores: What Triton and its models may run on; default: what this process may.
        threads: Of numeric libraries in each model, unless the model says otherwise.
        start_timeout_s: Longest time until Triton answers.
        on_restart: Awaited after Triton died and was started again: it has no models then. The addresses stay.
        say: Gets one line for everything that people should know; default: the log.
    """

    def __init__(
        self,
        state_dir: Path,
        environment: CoachEnvironment,
        *,
        cores: Sequence[int] | None = None,
        threads: int = 1,
        start_timeout_s: float = 60.0,
        on_restart: Callable[[], Awaitable[None]] | None = None,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        self.on_restart = on_restart
        self.restarts = 0
        self._state_dir = state_dir
        self._environment = environment
        self._variables = process_environment(environment, threads)
        self._cores = cores
        self._start_timeout_s = start_timeout_s
        self._say = say
        self._folder: RunFolder | None = None
        self._process: TritonProcess | None = None
        self._ports: Ports | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts it and waits until it answers.

        Raises:
            TritonStartError: It does not start.
        """
        try:
            self._folder = RunFolder(self._state_dir)
            assemble(self._environment, self._folder.backends)
        except OSError as error:
            self._remove_folder()
            raise TritonStartError(f"Triton did not start: {error}") from error
        try:
            self._process = await self._start_on_free_ports()
        except BaseException:
            self._remove_folder()
            raise
        self._keeper = asyncio.create_task(self._keep(self._process), name="embedded-triton")

    async def _start_on_free_ports(self) -> TritonProcess:
        for left in reversed(range(_ATTEMPTS)):
            self._ports = Ports.free()
            try:
                return await self._start_once(self._ports)
            except TritonStartError as error:
                if not left or "already in use" not in str(error).lower():
                    raise
        raise AssertionError

    async def _start_once(self, ports: Ports) -> TritonProcess:
        return await TritonProcess.start(
            self._environment, self._run(), self._variables, ports, self._cores, self._start_timeout_s
        )

    async def stop(self) -> None:
        """Ends it; afterwards no process, no shared memory and no folder of it is left, only its log."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        await self._stop_telling()
        process, self._process = self._process, None
        if process is not None:
            await process.stop()
        self._remove_folder()

    @property
    def running(self) -> bool:
        """Whether a server answers, or did so when it was last looked at."""
        return self._process is not None

    @property
    def repository(self) -> Path:
        """The model repository."""
        return self._run().repository

    @property
    def log(self) -> Path:
        """The file with what Triton and its models print."""
        return self._run().log

    @property
    def grpc_address(self) -> str:
        """Where KServe v2 is spoken over gRPC."""
        return f"127.0.0.1:{self._bound().grpc}"

    @property
    def http_address(self) -> str:
        """Where KServe v2 is spoken over HTTP."""
        return f"127.0.0.1:{self._bound().http}"

    @property
    def metrics_address(self) -> str:
        """Where Prometheus finds ``/metrics``."""
        return f"127.0.0.1:{self._bound().metrics}"

    def end_stubs(self, model: str) -> int:
        """Kills the processes of one model, which hang perhaps; Triton and the other models go on.

        Returns:
            How many there were.
        """
        return end_stubs(self._run().repository, model)

    async def _keep(self, process: TritonProcess) -> None:
        pause = 0
        while True:
            started = time.monotonic()
            how = await process.ended()
            self._process = None
            if time.monotonic() - started >= _STEADY_S:
                pause = 0
            words = last_words(self.log, lines=1)
            self._say(f"Triton {how}, starting it again" + (f"; it last said: {words}" if words else ""))
            while True:
                await asyncio.sleep(_BACKOFF_S[min(pause, len(_BACKOFF_S) - 1)])
                pause += 1
                try:
                    process = await self._start_once(self._bound())
                    break
                except TritonStartError as error:
                    self._say(str(error))
            self._process = process
            self.restarts += 1
            await self._stop_telling()
            self._telling = asyncio.create_task(self._tell(), name="embedded-triton-restarted")

    async def _tell(self) -> None:
        if self.on_restart is None:
            return
        try:
            await self.on_restart()
        except Exception as error:  # noqa: BLE001 - it is the caller's code; a lost error would be silence
            self._say(f"Triton runs again, but its models could not be loaded: {error}")

    async def _stop_telling(self) -> None:
        task, self._telling = self._telling, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _run(self) -> RunFolder:
        if self._folder is None:
            raise RuntimeError("Triton is not started")
        return self._folder

    def _bound(self) -> Ports:
        if self._ports is None:
            raise RuntimeError("Triton is not started")
        return self._ports

    def _remove_folder(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.remove()
