"""Runs the tests that must also pass on old libraries, each set in an environment of its own (part of `make test`).

The files marked `pytest.mark.compat` run with nothing but the client wheel and the oldest gRPC, protobuf and numpy
that it allows, on every old Python that this machine has; the newest ones are those of the main environment. What
the simulator side computes with numpy alone runs on numpy 1.26, which other people's simulators are tied to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = ("grpcio==1.49.1", "protobuf==4.21.6")
TOOLS = ("pytest>=8,<10", "pytest-timeout>=2.3", "hypothesis>=6.100,<7")


@dataclass(frozen=True)
class Combination:
    """One interpreter, what it has installed, and the tests that it runs."""

    python: str
    packages: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """Python and numpy, as in `3.8-numpy1.21.0`."""
        return f"{self.python}-{self.packages[0].replace('==', '')}"


def marked() -> tuple[str, ...]:
    """Test files of the wheel that carry the mark; others may need what is not installed here."""
    files = sorted(ROOT.joinpath("tests", "codriver").rglob("test_*.py"))
    return tuple(str(path.relative_to(ROOT)) for path in files if "mark.compat" in path.read_text())


def combinations() -> list[Combination]:
    """Python 3.8 is the wheel's floor, 3.10 what many simulators are tied to, 3.11 our own."""
    numpy1 = ("numpy==1.26.4", *OLDEST, "opencv-python-headless==4.10.0.84")
    scene = ("tests/sim_clients/observation", "tests/sim_clients/rules")
    return [
        Combination("3.8", ("numpy==1.21.0", *OLDEST), marked()),
        Combination("3.10", ("numpy==1.21.6", *OLDEST), marked()),
        Combination("3.11", numpy1, (*marked(), *scene)),
    ]


def interpreter(version: str) -> str | None:
    """A working interpreter of that version: this one, one on PATH, or pyenv's."""
    found = [shutil.which(f"python{version}")]
    found += sorted(map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")))
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        found.insert(0, sys.executable)
    for path in found:
        if (
            path
            and subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
        ):
            return path
    return None


def environment(combination: Combination, python: str) -> Path:
    """Makes the environment, or finds it as an earlier run made it; returns its interpreter."""
    folder = ROOT / f".venv-{combination.name}"
    done = folder / ".installed"
    wanted = "\n".join(
        (*combination.packages, *TOOLS, ROOT.joinpath("clients/python/pyproject.toml").read_text())
    )
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [
            str(folder / "bin" / "pip"),
            "install",
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, *combination.packages, *TOOLS, "-e", "clients/python"], cwd=ROOT, check=True)
        done.write_text(wanted)
    return folder / "bin" / "python"


def main() -> int:
    """Runs every combination that this machine can.

    Returns:
        0 where all passed, 1 where one failed or none could be run.
    """
    failed, ran = [], 0
    for combination in combinations():
        python = interpreter(combination.python)
        if python is None:
            print(f"compat {combination.name}: no python{combination.python} here, left out", flush=True)
            continue
        start = time.monotonic()
        tests = [str(environment(combination, python)), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        result = subprocess.run(
            [*tests, *combination.tests], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
        )
        closing = result.stdout.strip().splitlines()[-1:]
        print(f"compat {combination.name}:", *closing, f"({time.monotonic() - start:.0f} s)", flush=True)
        ran += 1
        if result.returncode != 0:
            print(result.stdout)
            failed.append(combination.name)
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
