"""The environment in which the coaches' models run: made once, then only looked at.

Triton's Python backend wants NumPy 1 and a Python of its own range, so what stands beside the models (torch,
transformers, open_clip and the Triton that ``nvidia-pytriton`` carries) lives apart from everything else: in
``.venv-coach`` beside ``pyproject.toml``, or, where codriver is an installed package, in the user's state folder.

    python -m feedback_service.coach_environment     # makes or completes it, and says what it downloads

Two that start at once: the second waits for the first. An interrupted installation goes on where it stopped. An
environment that has everything, however it was made, is left as it is.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from feedback_service.coach_facts import (
    CoachEnvironment,
    CoachEnvironmentError,
    facts_of,
    read_marker,
    write_marker,
)
from feedback_service.coach_install import (
    Progress,
    Wanted,
    install,
    make_environment,
    python_for,
    what_is_missing,
)

__all__ = ["CoachEnvironment", "CoachEnvironmentError", "ensure", "exec_module", "find", "main"]


def environment_folder() -> Path:
    """Where the environment is, or will be made."""
    if given := os.environ.get("CODRIVER_COACH_ENVIRONMENT"):
        return Path(given).expanduser().absolute()
    if (root := Wanted.checkout()) is not None:
        return root / ".venv-coach"
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "codriver" / "venv-coach"


def find(folder: Path | None = None) -> CoachEnvironment | None:
    """The environment if it is complete, else ``None``. Changes nothing, takes milliseconds.

    Args:
        folder: Where it is; default: :func:`environment_folder`.
    """
    return read_marker(folder or environment_folder(), Wanted.here().digest)


def ensure(
    progress: Progress = lambda line: None,
    *,
    folder: Path | None = None,
    wanted: Wanted | None = None,
    torch_index: str = "",
) -> CoachEnvironment:
    """Finds the environment, or makes it.

    Args:
        progress: Told, in one line each, what happens: what is downloaded and how large it is.
        folder: Where it is; default: :func:`environment_folder`.
        wanted: What belongs into it; default: what this codriver says.
        torch_index: Package index to take torch from; default: the usual ones.

    Raises:
        CoachEnvironmentError: It cannot be made; one line says why.
    """
    folder = folder or environment_folder()
    wanted = wanted or Wanted.here()
    if (found := read_marker(folder, wanted.digest)) is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, progress) as lock:
            if (found := read_marker(folder, wanted.digest)) is not None:
                return found
            missing = what_is_missing(folder, wanted)
            if missing:
                make_environment(folder, python_for(), lock)
                facts_of(folder)  # what cannot work is said before it is downloaded
                install(folder, wanted, progress, lock, torch_index)
                if missing := what_is_missing(folder, wanted):
                    raise CoachEnvironmentError(f"{folder} still lacks {', '.join(missing)} after installing")
            return write_marker(folder, wanted.digest)
    except OSError as error:
        raise CoachEnvironmentError(f"{folder}: {error.strerror or error}") from error
    except (subprocess.SubprocessError, ValueError) as error:
        raise CoachEnvironmentError(f"{folder}: its Python does not answer ({error})") from error


def exec_module(module: str, argv: Sequence[str]) -> int:
    """Runs ``python -m module argv`` in the environment, on this terminal; makes the environment first if need be.

    Returns:
        The status that the module ended with; 2 where there is no environment and the reason is on stderr.
    """
    try:
        environment = ensure(lambda line: print(line, file=sys.stderr, flush=True))
    except CoachEnvironmentError as error:
        print(error, file=sys.stderr)
        return 2
    unset = {"PYTHONPATH", "PYTHONHOME"}
    process = subprocess.Popen(
        [str(environment.python), "-P", "-m", module, *argv],
        env={name: value for name, value in os.environ.items() if name not in unset},
    )

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, pass_on) if in_main_thread else None
    try:
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:
                continue  # the module has had the interrupt too; it says how it ends
            return status if status >= 0 else 128 - status
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)
        if process.poll() is None:
            process.kill()


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[IO[str]]:
    """Only one at a time works on the folder; whoever comes second says so and waits."""
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            progress(f"another process is making {folder}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _ended(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(argv: list[str] | None = None) -> int:
    """Makes the environment and says so."""
    parser = argparse.ArgumentParser(
        prog="python -m feedback_service.coach_environment",
        description="Makes the environment in which the coaches' models run.",
    )
    parser.add_argument(
        "--torch-index",
        default=os.environ.get("TORCH_INDEX", ""),
        metavar="URL",
        help="package index to take torch from, such as https://download.pytorch.org/whl/cpu "
        "(default: $TORCH_INDEX, else the usual ones)",
    )
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _ended)
    try:
        ensure(lambda line: print(line, flush=True), torch_index=arguments.torch_index)
    except CoachEnvironmentError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
