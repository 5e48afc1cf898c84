"""What is known about a complete environment of the coaches, and the file in it that says so."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

MARKER = ".installed"
"""File in the environment's folder, written when everything is there: JSON, so that nothing needs to be asked again."""

_ASK = """
import ctypes, json, os, sys, sysconfig
name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
built = sysconfig.get_config_var("LIBDIR") or ""
multiarch = os.path.join(built, sysconfig.get_config_var("MULTIARCH") or "")
places = [built, os.path.join(sys.base_prefix, "lib"), multiarch]
found = next((place for place in places if os.path.exists(os.path.join(place, name))), "")
if not found:
    try:
        ctypes.CDLL(name)
        found = built
    except OSError:
        pass
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "wheels": sysconfig.get_path("purelib"),
    "library": name,
    "libraries": found,
}))
"""


class CoachEnvironmentError(Exception):
    """The environment cannot be made; the message is one line that says why and, where known, what to do."""


@dataclass(frozen=True)
class CoachEnvironment:
    """An environment that has everything that the coaches' models need.

    Attributes:
        python: Its interpreter.
        triton_wheel: Folder with what ``nvidia-pytriton`` brought: ``pytriton/`` and ``nvidia_pytriton.libs/``.
        python_version: Such as ``3.11``; picks the stub of Triton's Python backend.
        python_libraries: Folder of the interpreter's ``libpython``, which that stub loads by name.
    """

    python: Path
    triton_wheel: Path
    python_version: str
    python_libraries: Path

    @property
    def triton(self) -> Path:
        """Folder of the Triton that the wheel carries."""
        return self.triton_wheel / "pytriton" / "tritonserver"


def interpreter(folder: Path) -> Path:
    """The interpreter of the environment in ``folder``."""
    return folder / "bin" / "python"


def read_marker(folder: Path, digest: str) -> CoachEnvironment | None:
    """The environment in ``folder`` if its marker says that it has what ``digest`` stands for."""
    try:
        facts = json.loads((folder / MARKER).read_text())
        if facts["digest"] != digest:
            return None
        environment = CoachEnvironment(
            interpreter(folder),
            Path(facts["wheels"]),
            str(facts["python_version"]),
            Path(facts["python_libraries"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = environment.python.exists() and (environment.triton / "bin" / "tritonserver").exists()
    return environment if there else None


def facts_of(folder: Path) -> CoachEnvironment:
    """What the interpreter in ``folder`` says of itself.

    Raises:
        CoachEnvironmentError: There is no shared library of it, which Triton's Python backend needs: a load of a model
            would hang for ever.
        OSError, subprocess.SubprocessError, ValueError: It does not answer.
    """
    answer = subprocess.run(
        [str(interpreter(folder)), "-I", "-c", _ASK], capture_output=True, text=True, check=True, timeout=120
    )
    said = json.loads(answer.stdout)
    if not said["libraries"]:
        raise CoachEnvironmentError(
            f"Triton loads {said['library']}, which this machine does not have; "
            f"on Debian and Ubuntu: apt install libpython{said['version']}"
        )
    return CoachEnvironment(
        interpreter(folder), Path(said["wheels"]), said["version"], Path(said["libraries"])
    )


def write_marker(folder: Path, digest: str) -> CoachEnvironment:
    """Marks the environment in ``folder`` as complete.

    Raises:
        CoachEnvironmentError, OSError, subprocess.SubprocessError, ValueError: As :func:`facts_of`.
    """
    environment = facts_of(folder)
    facts = {name: str(value) for name, value in asdict(environment).items()}
    facts = {"digest": digest, "wheels": facts.pop("triton_wheel"), **facts}
    written = folder / f"{MARKER}.{os.getpid()}"
    written.write_text(json.dumps(facts, indent=1) + "\n")
    written.replace(folder / MARKER)
    return environment
