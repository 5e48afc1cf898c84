"""An agent server for the length of a command: found at an address, or started as a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sim_clients.simulator import SimulatorError

_START_TIMEOUT_S = 120.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@contextlib.contextmanager
def local_server(policy: str | None, *, arguments: list[str] | None = None) -> Iterator[str]:
    """Starts ``codriver serve`` on a unix socket and ends it again.

    Args:
        policy: Policy directory. None: the server's default.
        arguments: Further arguments of ``codriver serve``.

    Yields:
        The server's address.

    Raises:
        SimulatorError: The server did not start; the message is its own last line.
    """
    with tempfile.TemporaryDirectory(prefix="codriver-") as folder:
        address = f"unix:{folder}/agent.sock"
        ready = Path(folder) / "ready.json"
        errors = Path(folder) / "stderr.log"
        command = [sys.executable, "-m", "codriver", "serve", "--listen", address]
        command += ["--ready-file", str(ready), *(["--policy", policy] if policy else []), *(arguments or [])]
        with errors.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                preexec_fn=None if _LIBC is None else _end_with_parent,
            )
        try:
            _wait_until_ready(process, ready, errors)
            yield address
        finally:
            _stop(process)


def _end_with_parent() -> None:
    """Asks Linux to end the server with its parent, so that a parent that is killed leaves none behind."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, errors: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = errors.read_text(errors="replace").strip().splitlines()
            status = process.poll()
            silent = "no answer in time" if status is None else f"exit status {status}"
            detail = lines[-1] if lines else silent
            raise SimulatorError(f"the agent server did not start: {detail}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
