"""Runs one server and leaves nothing of it behind, whoever dies first. A program: standard library only.

    python -I -S guard.py --shm PREFIX --grace SECONDS [--cores 0,1] -- COMMAND ...

- SIGTERM: the server gets SIGTERM, after the grace its whole process group gets SIGKILL.
- End of standard input (whoever started the guard is gone, killed perhaps): SIGKILL at once.
- The guard itself is killed: the server has a parent-death signal, and Triton's stubs notice that it is gone.
In the end the guard reaps every process of the group and removes the server's shared memory; its status is the
server's (128 + signal).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REAP_S = 5.0


def main(argv: list[str]) -> int:
    """Runs the command to its end and returns its status."""
    command = argv[argv.index("--") + 1 :]
    options = dict(zip(argv[: argv.index("--")][::2], argv[: argv.index("--")][1::2]))
    grace_s = float(options["--grace"])
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if cores := options.get("--cores"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    told = False

    def tell(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = told or number == signal.SIGTERM

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, tell)
    guard = os.getpid()

    def before_it_starts() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os.kill(os.getpid(), signal.SIGKILL)

    # nothing else runs in this process, so code between fork and exec is safe
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=before_it_starts, close_fds=True
    )
    ends_at: float | None = None
    try:
        while server.poll() is None:
            left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
            if left == 0.0:
                break
            readable, _, _ = select.select([0, wake_read], [], [], left)
            if wake_read in readable:
                os.read(wake_read, 4096)
            if 0 in readable and not os.read(0, 4096):
                break
            if told and ends_at is None:
                server.send_signal(signal.SIGTERM)
                ends_at = time.monotonic() + grace_s
    finally:
        _end_group(server)
        _remove_shared_memory(options["--shm"])
    status = server.returncode
    return status if status >= 0 else 128 - status


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the server's group and reaps it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    until = time.monotonic() + _REAP_S
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return


def _remove_shared_memory(prefix: str) -> None:
    if prefix:
        for left in Path("/dev/shm").glob(f"{prefix}*"):
            left.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
