"""One run of the real tritonserver, from its start until it answers, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from feedback_service.coach_facts import CoachEnvironment
from feedback_service.triton.run_folder import RunFolder
from feedback_service.triton.server_log import last_words

_GUARD = Path(__file__).with_name("guard.py")
_HOST = "127.0.0.1"
_POLL_S = 0.02
_GRACE_S = 3.5
"""Triton itself waits up to ``--exit-timeout-secs`` for its models."""
_EXIT_TIMEOUT_S = 2


class TritonStartError(Exception):
    """Triton did not start; the message says why, with Triton's last words."""


@dataclass(frozen=True)
class Ports:
    """Where a server listens, on loopback."""

    http: int
    grpc: int
    metrics: int

    @classmethod
    def free(cls) -> Ports:
        """Three ports that nobody listens on at this moment."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for one in sockets:
                one.bind((_HOST, 0))
            return cls(*(int(one.getsockname()[1]) for one in sockets))


class TritonProcess:
    """A tritonserver under its guard; :meth:`start` makes it."""

    def __init__(self, guard: asyncio.subprocess.Process, ports: Ports, log: Path, log_start: int) -> None:
        self.ports = ports
        self._guard = guard
        self._log = log
        self._log_start = log_start

    @classmethod
    async def start(
        cls,
        environment: CoachEnvironment,
        folder: RunFolder,
        variables: Mapping[str, str],
        ports: Ports,
        cores: Sequence[int] | None,
        timeout_s: float,
    ) -> TritonProcess:
        """Starts a server and waits until it answers.

        Args:
            environment: Where the server is.
            folder: What it serves, and its log.
            variables: Its environment variables.
            ports: Where it listens.
            cores: What it and its models may run on; ``None``: what this process may.
            timeout_s: Longest time until it answers.

        Raises:
            TritonStartError: It ended, or does not answer in time.
        """
        guard = [
            sys.executable,
            "-I",
            "-S",
            str(_GUARD),
            "--shm",
            folder.shared_memory,
            "--grace",
            str(_GRACE_S),
        ]
        if cores:
            guard += ["--cores", ",".join(map(str, cores))]
        with folder.log.open("ab") as log:
            begin = log.tell()
            process = await asyncio.create_subprocess_exec(
                *guard,
                "--",
                *_command(environment, folder, ports),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(variables),
                start_new_session=True,
                pass_fds=[folder.lock.fileno()],
            )
        started = cls(process, ports, folder.log, begin)
        try:
            async with asyncio.timeout(timeout_s):
                await started._until_it_answers(folder.run)
        except TimeoutError:
            await started.stop(at_once=True)
            raise TritonStartError(started._with_last_words(f"no answer within {timeout_s:g} s")) from None
        except BaseException:
            await started.stop(at_once=True)
            raise
        return started

    async def _until_it_answers(self, name: str) -> None:
        while self._guard.returncode is None:
            if await _name_at(self.ports.http) == name:
                return
            await asyncio.sleep(_POLL_S)
        raise TritonStartError(self._with_last_words(f"it ended with status {self._guard.returncode}"))

    def _with_last_words(self, what: str) -> str:
        words = last_words(self._log, self._log_start)
        return f"Triton did not start: {what}" + (f": {words}" if words else "") + f" (log: {self._log})"

    async def ended(self) -> str:
        """Waits for the end of the server and says in words how it ended."""
        status = await self._guard.wait()
        if status < 0:
            return f"its guard was ended by {signal.Signals(-status).name}"
        if status > 128:
            with contextlib.suppress(ValueError):
                return f"ended by {signal.Signals(status - 128).name}"
        return f"ended with status {status}"

    async def stop(self, *, at_once: bool = False) -> None:
        """Ends the server and everything that it started; returns when nothing is left.

        Args:
            at_once: Do not wait for its models; they hold no state.
        """
        assert self._guard.stdin is not None
        if at_once:
            self._guard.stdin.close()
        else:
            with contextlib.suppress(ProcessLookupError):
                self._guard.terminate()
        try:
            async with asyncio.timeout(_GRACE_S + 10):
                await self._guard.wait()
        except TimeoutError:  # a guard that was stopped, say
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            await self._guard.wait()
        finally:
            self._guard.stdin.close()


def _command(environment: CoachEnvironment, folder: RunFolder, ports: Ports) -> list[str]:
    return [
        str(environment.triton / "bin" / "tritonserver"),
        f"--id={folder.run}",
        f"--model-repository={folder.repository}",
        f"--backend-directory={folder.backends}",
        f"--cache-directory={environment.triton / 'caches'}",
        "--model-control-mode=explicit",
        # configurations are complete; asking each model about itself would import its libraries twice
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
        "--allow-gpu-metrics=false",
        f"--backend-config=python,shm-region-prefix-name={folder.shared_memory}",
        *(f"--{service}-address={_HOST}" for service in ("http", "grpc", "metrics")),
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
    ]


async def _name_at(port: int) -> str | None:
    """Name of the Triton that answers there; a port of ours may be somebody else's by now."""
    try:
        reader, writer = await asyncio.open_connection(_HOST, port)
    except OSError:
        return None
    try:
        writer.write(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(2):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().splitlines()
                if line.startswith(b"content-length:")
            )
            body = await reader.readexactly(length)
        return str(json.loads(body)["name"])
    except (OSError, EOFError, TimeoutError, ValueError, LookupError, TypeError, StopIteration):
        return None
    except asyncio.LimitOverrunError:
        return None
    finally:
        writer.close()
