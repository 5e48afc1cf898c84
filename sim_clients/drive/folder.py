"""Folders of a running command: sockets and logs, gone with it, or at the next start where it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"codriver-(\d+)-\w+\Z")


@contextlib.contextmanager
def command_folder() -> Iterator[Path]:
    """Makes a folder whose name tells its owner, who locks it; removes those of owners that are gone."""
    remove_leftovers(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=f"codriver-{os.getpid()}-", ignore_cleanup_errors=True) as folder,
        _locked(Path(folder)),
    ):
        yield Path(folder)


def remove_leftovers(directory: Path) -> None:
    """Removes our own folders whose owner does not live: one that was killed could not.

    A number that nobody has is not enough, as containers that share a folder count their processes apart: nobody may
    hold the lock, either.
    """
    for path in directory.glob("codriver-*-*"):
        found = _NAME.match(path.name)
        if found is None or path.is_symlink() or _lives(int(found.group(1))):
            continue
        with contextlib.suppress(OSError), _locked(path):
            if path.stat().st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks a folder; raises BlockingIOError when somebody else has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
