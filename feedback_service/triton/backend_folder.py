"""What the Triton of ``nvidia-pytriton`` needs around it to run on its own, without the wheel's Python API."""

from __future__ import annotations

import os
from pathlib import Path

from feedback_service.coach_facts import CoachEnvironment

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def assemble(environment: CoachEnvironment, folder: Path) -> None:
    """Puts the Python backend together: its library, its utilities and the stub of the environment's Python.

    Args:
        environment: Where the wheel is.
        folder: Becomes Triton's backend directory.

    Raises:
        OSError: The folder cannot be written, or the wheel lacks a file.
    """
    backend = environment.triton / "backends" / "python"
    stubs = environment.triton / "python_backend_stubs" / environment.python_version
    made = folder / "python"
    made.mkdir(parents=True, exist_ok=True)
    for source in (
        backend / "libtriton_python.so",
        backend / "triton_python_backend_utils.py",
        stubs / "triton_python_backend_stub",
    ):
        (made / source.name).symlink_to(source.resolve(strict=True))


def process_environment(environment: CoachEnvironment, threads: int) -> dict[str, str]:
    """Environment variables of Triton and of its models.

    The stub loads ``libpython3.X.so`` by name: it must find the one of the environment's own interpreter, and no
    variable may point that interpreter elsewhere.

    Args:
        environment: In which the models run.
        threads: Of numeric libraries in each model, unless the model says otherwise.
    """
    variables = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV"):
        variables.pop(name, None)
    libraries = [str(environment.python_libraries), str(environment.triton_wheel / "nvidia_pytriton.libs")]
    variables["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, *_given("LD_LIBRARY_PATH")])
    variables["PATH"] = os.pathsep.join([str(environment.python.parent), *_given("PATH")])
    variables["PYTHONUNBUFFERED"] = "1"  # what a model prints is in the log when it is needed
    variables.update(dict.fromkeys(_THREADS, str(threads)))
    # models are local directories; nothing is looked up elsewhere
    variables.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    return variables


def _given(name: str) -> list[str]:
    return [value] if (value := os.environ.get(name)) else []
