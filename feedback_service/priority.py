"""The drive comes first: on a machine that both share, the feedback service gives way to it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NICE = 10
"""Niceness of the service and of the Triton that it starts (0 normal, 19 lowest)."""


def give_way(nice: int = NICE) -> None:
    """Lowers the priority of this process and of those that it will start; where that is impossible, nothing happens.

    Where Linux groups processes by session (autogroup), niceness counts inside a group alone: a process that leads a
    session of its own lowers its group too.
    """
    with contextlib.suppress(OSError):
        os.nice(max(0, nice - os.nice(0)))
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(os.nice(0)), encoding="ascii")
