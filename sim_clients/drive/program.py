"""Our own programs as processes for the length of a command: started apart, ended for certain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_STOP_TIMEOUT_S = 15.0


def start_program(
    arguments: list[str], errors: IO[bytes], *, output: IO[bytes] | int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Starts ``codriver ARGUMENTS`` in a session of its own, so that Ctrl-C is left to whoever started it.

    Args:
        arguments: Verb and arguments.
        errors: File for its standard error.
        output: File for its standard output, or ``subprocess.PIPE``.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "codriver", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        preexec_fn=None if _LIBC is None else _end_with_parent,
    )


def stop_program(process: subprocess.Popen[bytes], timeout_s: float = _STOP_TIMEOUT_S) -> None:
    """Asks a program to end; ends it and what it started when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def last_line(errors: Path) -> str:
    """The last line that a program wrote; empty when it said nothing."""
    lines = errors.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _end_with_parent() -> None:
    """Asks Linux to end the program with its parent, so that a parent that is killed leaves none behind."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
