"""The programs under test, each on the cores that it is given, for the length of a measurement."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from codriver.errors import InternalError

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 20.0


def pinned(cores: Iterable[int]) -> Any:
    """A ``preexec_fn`` that keeps the program on some cores."""
    chosen = set(cores)
    return lambda: os.sched_setaffinity(0, chosen)


def once(
    module: str, job: Any, cores: Iterable[int], *, python: str = sys.executable, timeout_s: float = 600.0
) -> dict[str, Any]:
    """Runs ``python -m module JOB`` to its end and returns the JSON object that it prints.

    Args:
        module: Module to run.
        job: A dataclass, sent as one JSON argument, or a list of arguments.
        cores: Where it runs.
        python: Interpreter.
        timeout_s: Longest run.

    Raises:
        InternalError: It failed; the message is its last line.
    """
    arguments = [json.dumps(asdict(job))] if is_dataclass(job) and not isinstance(job, type) else list(job)
    done = subprocess.run(
        [python, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        preexec_fn=pinned(cores),
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise InternalError(f"{module}: {lines[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@contextlib.contextmanager
def injected_triton(latency_s: float, cores: Iterable[int], row_s: float = 0.0) -> Iterator[str]:
    """A Triton that answers well after so many seconds, and so many more for each row of a call; its address."""
    times = ["--latency-s", str(latency_s), "--row-s", str(row_s)]
    process = subprocess.Popen(
        [sys.executable, "-m", "feedback_service.bench.injected", *times],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(cores),
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise InternalError("the Triton of injected latency did not start")
        yield address
    finally:
        process.stdin.close()
        _wait(process)


NO_CACHE = "[vlm]\ncache_entries = 0\n[clip]\ncache_entries = 0\n"
"""Settings of the service without its cache: the rows of a measurement repeat, those of a drive do not."""


@contextlib.contextmanager
def feedback_service(
    triton: str, cores: Iterable[int], *arguments: str, settings: str = NO_CACHE
) -> Iterator[str]:
    """``codriver feedback`` on a unix socket; its address, once every coach is ready.

    Args:
        triton: Address of Triton, or ``embedded``.
        cores: Where the service runs.
        *arguments: Further arguments.
        settings: Content of its configuration file.
    """
    with tempfile.TemporaryDirectory(prefix="codriver-bench-") as folder:
        address = f"unix:{folder}/feedback.sock"
        command = [sys.executable, "-m", "codriver", "feedback", "--triton", triton, "--listen", address]
        command += ["--admin-listen", f"unix:{folder}/admin.sock"]
        config = Path(folder) / "feedback.toml"
        config.write_text(settings, encoding="utf-8")
        command += ["--config", str(config)]
        if "--store" not in arguments:
            command += ["--store", f"{folder}/store"]
        with _program([*command, *arguments], cores, Path(folder) / "feedback.log", "COACHES"):
            yield address


@contextlib.contextmanager
def agent_server(feedback: str, model_cores: list[int], other_cores: list[int]) -> Iterator[str]:
    """``codriver serve`` with the shipped policy and one model thread, on a unix socket; its address."""
    with tempfile.TemporaryDirectory(prefix="codriver-bench-") as folder:
        address = f"unix:{folder}/agent.sock"
        command = [sys.executable, "-m", "codriver", "serve", "--listen", address, "--threads", "1"]
        command += ["--model-cores", ",".join(map(str, model_cores))]
        if feedback:
            command += ["--feedback", feedback]
        with _program(command, {*model_cores, *other_cores}, Path(folder) / "serve.log", "READY") as pid:
            for task in Path(f"/proc/{pid}/task").iterdir():  # the model's process keeps to its own cores
                os.sched_setaffinity(int(task.name), set(other_cores))
            yield address


@contextlib.contextmanager
def _program(command: list[str], cores: Iterable[int], log: Path, ready: str) -> Iterator[int]:
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=pinned(cores),
        )
    assert process.stdout is not None
    try:
        _wait_for_line(process, ready, log)
        yield process.pid
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _wait(process)


def _wait_for_line(process: subprocess.Popen[str], ready: str, log: Path) -> None:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    name = " ".join(list(map(str, process.args))[2:4]) if isinstance(process.args, list) else "a program"
    deadline, seen = time.monotonic() + START_TIMEOUT_S, ""
    while not any(line.startswith(ready) for line in seen.splitlines()[: seen.count("\n")]):
        with contextlib.suppress(BlockingIOError, TypeError):
            seen += process.stdout.read() or ""
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise InternalError(f"{name} did not become ready: {lines[-1]}")
        time.sleep(0.05)


def _wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
