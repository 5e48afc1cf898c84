"""An agent server for the length of a command: found at an address, or started as a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from sim_clients.drive.folder import command_folder
from sim_clients.drive.program import last_line, start_program, stop_program
from sim_clients.simulator import SimulatorError

_START_TIMEOUT_S = 120.0


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
    with command_folder() as folder:
        address = f"unix:{folder}/agent.sock"
        ready = folder / "ready.json"
        errors = folder / "stderr.log"
        command = ["serve", "--listen", address, "--ready-file", str(ready)]
        command += [*(["--policy", policy] if policy else []), *(arguments or [])]
        with errors.open("wb") as log:
            process = start_program(command, log)
        try:
            _wait_until_ready(process, ready, errors)
            yield address
        finally:
            stop_program(process)


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, errors: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            status = process.poll()
            silent = "no answer in time" if status is None else f"exit status {status}"
            raise SimulatorError(f"the agent server did not start: {last_line(errors) or silent}")
        time.sleep(0.05)
