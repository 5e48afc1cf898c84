"""Programs as processes: start them, read what they say, and see what they leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARK = "CODRIVER_TEST_MARK"
SMALL_TOWN = (
    "--town",
    "acorn",
    "--vehicles",
    "5",
    "--walkers",
    "3",
    "--min-route-m",
    "100",
    "--min-signals",
    "0",
)
"""Arguments of verbs that drive: a tiny town with little traffic and short routes."""


@dataclass
class Finished:
    """A process that ended. Attributes: status; out, err: what it printed; left: processes that it left behind."""

    status: int
    out: str
    err: str
    left: list[int]

    @property
    def figures(self) -> dict:
        """What ``--json`` printed."""
        return json.loads(self.out)

    def refusal(self, verb: str) -> str:
        """The one line of a verb that refused, checked to be one."""
        assert self.status == 2, self.err
        lines = [line for line in self.err.splitlines() if not line.startswith("demo: ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith(f"codriver {verb}: ") or lines[0].startswith("codriver: "), self.err
        assert self.out == "" and self.left == []
        return lines[0]


class Program:
    """A running ``codriver`` command; everything that it starts carries a mark in its environment.

    Args:
        arguments: Its arguments.
        code: Python code to run instead of the command; it sees the arguments.
    """

    def __init__(self, *arguments: str | Path, code: str | None = None) -> None:
        self.mark = uuid.uuid4().hex
        runs = ["-m", "codriver"] if code is None else ["-c", code]
        self.process = subprocess.Popen(
            [sys.executable, *runs, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: self.mark, "COLUMNS": "120"},
            start_new_session=True,
            # A test run in the background of a shell ignores the signal, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def finish(self, timeout_s: float = 150.0) -> Finished:
        """Waits for its end and for what it started to go."""
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"still running after {timeout_s} s: {err}") from None
        return Finished(self.process.returncode, out, err, self.left())

    def left(self, patience_s: float = 15.0) -> list[int]:
        """Process ids that carry the mark and do not go."""
        wait_until(lambda: not self.marked(), patience_s)
        return self.marked()

    def end(self) -> None:
        """Ends it and everything that it started, where that is still there."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # it leads a group of its own
        for pid in self.marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def marked(self) -> list[int]:
        """Process ids that carry the mark now."""
        needle, found = f"{MARK}={self.mark}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if needle in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found


def codriver(*arguments: str | Path, code: str | None = None) -> Finished:
    """Runs a ``codriver`` command to its end."""
    return Program(*arguments, code=code).finish()


def wait_until(holds: Callable[[], bool], patience_s: float) -> bool:
    """Waits until something holds; False when it does not in time."""
    end = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
