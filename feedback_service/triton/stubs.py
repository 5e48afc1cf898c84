"""The processes in which Triton's Python models run, found and ended by the model that they hold."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_STUB = "triton_python_backend_stub"


def stubs_of(repository: Path, model: str) -> list[int]:
    """Process ids of a model's stubs, running or being started.

    Args:
        repository: The model repository, which tells one server's stubs from another's.
        model: Its name there.
    """
    folder = f"{repository / model}{os.sep}"
    found = []
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        words = _command(pid)
        if len(words) > 1 and Path(words[0]).name == _STUB and words[1].startswith(folder):
            found.append(pid)
    return found


def end_stubs(repository: Path, model: str) -> int:
    """Kills a model's stubs and removes their shared memory. Triton then fails whatever waits for them.

    A stub that hangs, in an import or in a call, is got rid of in no other way: an unload would wait for it.

    Returns:
        How many there were.
    """
    ended = 0
    for pid in stubs_of(repository, model):
        words = _command(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            ended += 1
        if len(words) > 2 and words[2].startswith("codriver-") and os.sep not in words[2]:
            Path("/dev/shm", words[2]).unlink(missing_ok=True)
    return ended


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return []
