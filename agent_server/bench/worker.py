"""Helper processes that do one job after another: a JSON object a line in, a JSON object a line out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from codriver.errors import InternalError


def pin(cores: Iterable[int]) -> None:
    """Keeps the calling thread, and those that it starts, on some cores. Nothing happens where that is impossible."""
    chosen = set(cores)
    if chosen and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, chosen)


def work(do: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The helper's side: answers jobs until its input ends."""
    for line in sys.stdin:
        print(json.dumps(do(json.loads(line))), flush=True)


class Worker:
    """The other side: a helper process; a context manager that ends it."""

    def __init__(self, module: str, cores: Iterable[int], *arguments: str) -> None:
        """Starts ``python -m module`` on some cores."""
        chosen = list(cores)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: pin(chosen),
        )

    def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        """Has a job done.

        Raises:
            InternalError: The helper ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise InternalError(f"a helper process of the benchmark ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Worker:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the helper."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
