"""Making the coaches' environment: which Python, which packages, and pip's chatter in a few readable lines."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from feedback_service.coach_facts import CoachEnvironmentError, interpreter

Progress = Callable[[str], None]
TRITON = "nvidia-pytriton==0.7.0"
"""Carries tritonserver 2.51.0, of which only the binaries are used."""
PYTHONS = ("3.12", "3.11")
"""What codriver (3.11 and later) and this Triton with NumPy 1 (up to 3.12) have in common."""

_CHECK = r"""
import importlib.util, json, sys
from importlib.metadata import PackageNotFoundError, version
from pip._vendor.packaging.requirements import Requirement
missing = []
if "%d.%d" % sys.version_info[:2] not in json.loads(sys.argv[1]):
    missing.append("a Python that Triton's backend knows")
for line in json.loads(sys.argv[2]):
    wanted = Requirement(line)
    if wanted.marker is not None and not wanted.marker.evaluate():
        continue
    try:
        fits = wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        fits = False
    if not fits:
        missing.append(str(wanted))
missing += [name for name in ("codriver", "feedback_service") if importlib.util.find_spec(name) is None]
print(json.dumps(missing))
"""


@dataclass(frozen=True)
class Wanted:
    """What belongs into the environment.

    Attributes:
        requirements: Of codriver's extra ``coach``.
        constraints: File with one consistent set of versions; ``None``: newest that fit.
        sources: What pip is to install for codriver itself.
        triton: The package that carries Triton; goes in without what it depends on.
    """

    requirements: tuple[str, ...]
    constraints: Path | None
    sources: tuple[str, ...]
    triton: str = TRITON

    @staticmethod
    def checkout() -> Path | None:
        """Root of the checkout that this file is in; ``None``: it is installed."""
        root = Path(__file__).resolve().parents[1]
        whole = (root / "pyproject.toml").exists() and (root / "clients" / "python").is_dir()
        return root if whole else None

    @classmethod
    def here(cls) -> Wanted:
        """What this codriver wants."""
        if (root := cls.checkout()) is not None:
            project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
            return cls(
                tuple(project["optional-dependencies"]["coach"]),
                root / "constraints-coach.txt",
                ("-e", str(root / "clients" / "python"), "-e", f"{root}[coach]"),
            )
        extra = re.compile(r"""^(.*?)\s*;.*\bextra\s*==\s*['"]coach['"]""")
        lines = importlib.metadata.requires("codriver") or []
        found = tuple(match[1].strip("() ") for line in lines if (match := extra.match(line)))
        return cls(found, None, tuple(_installed_from(name) for name in ("codriver-client", "codriver")))

    @property
    def digest(self) -> str:
        """Changes when the environment has to."""
        pinned = self.constraints.read_text() if self.constraints and self.constraints.exists() else ""
        pins = [line.strip() for line in pinned.splitlines() if line.strip() and not line.startswith("#")]
        facts = [list(self.requirements), pins, self.triton, list(self.sources)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _installed_from(name: str) -> str:
    """What to give pip for the same package again: where it came from, else its version."""
    distribution = importlib.metadata.distribution(name)
    extra = "[coach]" if name == "codriver" else ""
    origin = _origin(json.loads(distribution.read_text("direct_url.json") or "{}"))
    return f"{name}{extra} @ {origin}" if origin else f"{name}{extra}=={distribution.version}"


def _origin(facts: Mapping[str, Any]) -> str:
    """The address in a ``direct_url.json``, as pip takes it; empty: it came from an index."""
    url = str(facts.get("url", ""))
    if (vcs := facts.get("vcs_info")) is not None:
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return url + (f"#subdirectory={folder}" if (folder := facts.get("subdirectory")) else "")


def python_for(version: tuple[int, int] = sys.version_info[:2]) -> str:
    """An interpreter for the environment: this one, or one on the PATH.

    Args:
        version: Of this one.

    Raises:
        CoachEnvironmentError: None of them fits.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise CoachEnvironmentError(
            f"Triton comes for Linux on x86-64 and aarch64, not for {sys.platform} on {platform.machine()}"
        )
    own = "{}.{}".format(*version)
    candidates = [sys.executable] if own in PYTHONS else []
    candidates += [f"python{version}" for version in PYTHONS]
    found = next((path for name in candidates if (path := shutil.which(name)) and _works(path, "venv")), None)
    if found is None:
        raise CoachEnvironmentError(
            f"the coaches' models need Python {' or '.join(reversed(PYTHONS))} (this is {own}), and none is on the PATH"
        )
    return found


def what_is_missing(folder: Path, wanted: Wanted) -> list[str]:
    """What the environment in ``folder`` lacks, in words; empty: nothing."""
    if not interpreter(folder).exists():
        return ["a Python"]
    needed = json.dumps([*wanted.requirements, wanted.triton])
    answer = subprocess.run(
        [str(interpreter(folder)), "-I", "-c", _CHECK, json.dumps(PYTHONS), needed],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if answer.returncode != 0:
        return ["a Python that works"]
    return [str(what) for what in json.loads(answer.stdout)]


def make_environment(folder: Path, python: str, lock: IO[str]) -> None:
    """Makes the bare environment; one whose Python works stays as it is.

    Raises:
        CoachEnvironmentError: It cannot be made.
    """
    if os.path.lexists(interpreter(folder)):
        if _works(str(interpreter(folder)), "pip"):
            return
        for stale in ("bin", "lib", "lib64", "include", "pyvenv.cfg"):  # all but the lock
            path = folder / stale
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path, ignore_errors=True)
    _run([python, "-m", "venv", str(folder)], lock, lambda line: None)


def _works(python: str, module: str) -> bool:
    """Whether an interpreter runs (one on the PATH may be a shim that does not), fits and has a module."""
    ask = f"import {module}, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, timeout=120)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() in PYTHONS


def install(folder: Path, wanted: Wanted, progress: Progress, lock: IO[str], torch_index: str = "") -> None:
    """Installs what is wanted; what is there already is not downloaded again.

    Raises:
        CoachEnvironmentError: pip fails; the message ends with its last line.
    """
    pip = [str(interpreter(folder)), "-m", "pip", "install", "--no-compile", "--disable-pip-version-check"]
    pip += ["--no-input", "--progress-bar", "off"]
    pins = ["--constraint", str(wanted.constraints)] if wanted.constraints else []
    progress("Installing what the coaches' models need: about 1.5 GB on disk with a torch for CPUs")
    if torch_index:
        torch = [line for line in wanted.requirements if line.startswith("torch=")]
        _run([*pip, *pins, "--no-deps", "--index-url", torch_index, *torch], lock, narrator(progress))
    _run([*pip, *pins, *wanted.sources], lock, narrator(progress))
    _run([*pip, "--no-deps", wanted.triton], lock, narrator(progress))


_DOWNLOAD = re.compile(
    r"^\s*(?:Downloading|Using cached) (?:\S*/)?([^-/\s]+-[^-\s]+)-?\S* \(([0-9.]+ [MG]B)\)"
)


def narrator(progress: Progress) -> Callable[[str], None]:
    """Turns pip's lines into those worth showing: what is large, and that it unpacks."""

    def narrate(line: str) -> None:
        if match := _DOWNLOAD.match(line):
            progress(f"  {match[1]} ({match[2]})")
        elif line.startswith("Installing collected"):
            progress("  unpacking")

    return narrate


def _run(command: list[str], lock: IO[str], narrate: Callable[[str], None]) -> None:
    """Runs a command to its end; whatever interrupts us ends it too.

    Should this process be killed outright, the command holds the lock until it has ended by itself.
    """
    last: deque[str] = deque(maxlen=200)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=[lock.fileno()],
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                last.append(line.rstrip())
                narrate(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        said = [
            line for line in last if line.strip() and not line.lower().startswith(("warning", "[notice]"))
        ]
        errors = [line for line in said if line.startswith(("ERROR", "Error", "error"))]
        reason = (errors or said or [f"status {process.returncode}"])[-1]
        raise CoachEnvironmentError(f"cannot make the coaches' environment: {reason.strip()}")
