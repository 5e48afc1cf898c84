"""Processor time of a server's threads, told apart by the cores that they keep to (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def thread_seconds(pids: Iterable[int], model_cores: Sequence[int]) -> tuple[float, float] | None:
    """Processor time so far of the processes' threads on the model's cores, and of all others, in seconds.

    None where threads cannot be told apart.
    """
    model = other = 0.0
    found = False
    try:
        for task in (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()):
            stat = (task / "stat").read_text().rpartition(")")[2].split()
            seconds = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            if os.sched_getaffinity(int(task.name)) == set(model_cores):
                found, model = True, model + seconds
            else:
                other += seconds
    except (OSError, ValueError, AttributeError):
        return None
    return (model, other) if found and other else None
