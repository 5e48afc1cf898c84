"""The folder of one run of the embedded Triton, and what runs that were killed left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import IO

_KEPT_LOGS = 5


class RunFolder:
    """``STATE/triton/RUN/`` with model repository and backends, and the log beside it, ``STATE/triton/RUN.log``.

    A lock on the folder's ``lock`` file says that the run is alive; it is handed on to the server's guard, so it ends
    with the last of the two. Runs without it are dead: making a folder removes theirs, and their shared memory.

    Args:
        state: Folder of the service's state; may be shared by several services.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, state: Path) -> None:
        base = state.absolute() / "triton"
        base.mkdir(parents=True, exist_ok=True)
        with (base / "lock").open("a") as one_at_a_time:
            fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
            for path in sorted(base.iterdir()):
                if path.is_dir():
                    _remove_if_dead(path)
            _remove_old_logs(base)
            self.run = secrets.token_hex(4)
            self.path = base / self.run
            self.repository = self.path / "repository"
            self.backends = self.path / "backends"
            self.log = base / f"{self.run}.log"
            self.repository.mkdir(parents=True)
            self.lock: IO[str] = (self.path / "lock").open("w")
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.lock.write(f"{os.getpid()}\n")
        self.lock.flush()

    @property
    def shared_memory(self) -> str:
        """Prefix of the names of Triton's shared memory."""
        return shared_memory_prefix(self.run)

    def remove(self) -> None:
        """Removes the folder; the log stays."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.close()


def shared_memory_prefix(run: str) -> str:
    """Prefix of the names of a run's shared memory; a part of it is random, so it is nobody else's."""
    return f"codriver-{run}-"


def _remove_if_dead(path: Path) -> None:
    try:
        lock = (path / "lock").open("a")
    except OSError:
        return  # not a run's folder, or not ours
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        for left in Path("/dev/shm").glob(f"{shared_memory_prefix(path.name)}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        shutil.rmtree(path, ignore_errors=True)


def _remove_old_logs(base: Path) -> None:
    alive = {path.name for path in base.iterdir() if path.is_dir()}
    logs = [path for path in base.glob("*.log") if path.stem not in alive]
    for old in sorted(logs, key=lambda path: path.stat().st_mtime)[: -_KEPT_LOGS or None]:
        old.unlink(missing_ok=True)
