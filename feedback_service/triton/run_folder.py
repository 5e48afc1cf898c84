"""The folder of one run of the embedded Triton, and what runs that were killed left behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import IO

_KEPT_LOGS = 5
_SAFE = re.compile(r"[A-Za-z0-9_./+@%:,=-]+")
"""Paths that a shell takes as one word."""


class RunFolder:
    """``STATE/triton/RUN/`` with model repository and backends, and the log beside it, ``STATE/triton/RUN.log``.

    A lock on the folder's ``lock`` file says that the run is alive; it is handed on to the server's guard, so it ends
    with the last of the two. Runs without it are dead: making a folder removes theirs, and their shared memory.

    Triton starts the processes of its models through a shell, without quotes: a path with a space hangs a load for
    ever. Where the state's path has such characters, Triton is given a link to it instead.

    Args:
        state: Folder of the service's state; may be shared by several services.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, state: Path) -> None:
        self._link: Path | None = None
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
            self.log = base / f"{self.run}.log"
            self.path.mkdir()
            self.lock: IO[str] = (self.path / "lock").open("w")
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            self._link = None if _SAFE.fullmatch(str(self.path)) else _link_to(self.path)
            self.lock.write(f"{self._link or ''}\n")
            self.lock.flush()
            served = self._link or self.path
            self.repository = served / "repository"
            self.backends = served / "backends"
            self.repository.mkdir()
        except OSError:
            self.remove()
            raise

    @property
    def shared_memory(self) -> str:
        """Prefix of the names of Triton's shared memory."""
        return shared_memory_prefix(self.run)

    def remove(self) -> None:
        """Removes the folder; the log stays."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.close()


def shared_memory_prefix(run: str) -> str:
    """Prefix of the names of a run's shared memory; a part of it is random, so it is nobody else's."""
    return f"codriver-{run}-"


def _link_to(path: Path) -> Path:
    """A link to the folder at a path that a shell takes as one word.

    Raises:
        OSError: None of the usual places takes one.
    """
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        link = place / f"codriver-{path.name}"
        if _SAFE.fullmatch(str(link)):
            with contextlib.suppress(OSError):
                link.symlink_to(path)
                return link
    raise OSError(errno.EINVAL, f"Triton cannot work in {path}, and no temporary folder takes a link to it")


def _remove_if_dead(path: Path) -> None:
    try:
        lock = (path / "lock").open("a+")
    except OSError:
        return  # not a run's folder, or not ours
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        lock.seek(0)
        link = Path(lock.readline().strip() or os.devnull)
        if link.is_symlink() and link.name == f"codriver-{path.name}":
            with contextlib.suppress(OSError):
                link.unlink()
        for left in Path("/dev/shm").glob(f"{shared_memory_prefix(path.name)}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        shutil.rmtree(path, ignore_errors=True)


def _remove_old_logs(base: Path) -> None:
    alive = {path.name for path in base.iterdir() if path.is_dir()}
    logs = [path for path in base.glob("*.log") if path.stem not in alive]
    for old in sorted(logs, key=lambda path: path.stat().st_mtime)[: -_KEPT_LOGS or None]:
        old.unlink(missing_ok=True)
