"""The models' environment: found, accepted, made, waited for, taken up again."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from feedback_service import coach_environment
from feedback_service.coach_environment import CoachEnvironmentError, ensure
from feedback_service.coach_facts import MARKER, facts_of, interpreter
from feedback_service.coach_install import Wanted, _origin, narrator, python_for
from tests.feedback_service.triton.embedded import eventually, processes, real_environment

NAMES = {
    "codriver": {"codriver/__init__.py": "", "feedback_service/__init__.py": ""},
    "small-triton": {"pytriton/tritonserver/bin/tritonserver": ""},
    "somemodel": {"somemodel.py": "import sys\nsys.exit(7 if sys.argv[1:] == ['a', '--b'] else 1)\n"},
}
WANTED = Wanted(("somemodel==1.0",), None, ("codriver==1.0", "somemodel==1.0"), triton="small-triton==1.0")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Three wheels, and a pip that looks nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, files in NAMES.items():
        info = f"{name.replace('-', '_')}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "w") as wheel:
            for path, text in files.items():
                wheel.writestr(path, text)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "environment"


def borrowed(folder):
    """An environment made by hand: the real one's packages under another folder, without a marker."""
    real = real_environment().python.parent.parent
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to((real / "bin" / "python").resolve())
    (folder / "lib").symlink_to(real / "lib")
    (folder / "pyvenv.cfg").write_text((real / "pyvenv.cfg").read_text())


def test_a_complete_environment_is_found_and_left_as_it_is():
    real = real_environment()
    folder = real.python.parent.parent
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}
    said = []
    assert ensure(said.append) == real and not said
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]} == before
    assert (real.triton / "bin" / "tritonserver").exists() and list(real.python_libraries.glob("libpython3*"))


def test_one_that_was_made_by_hand_is_accepted(folder):
    borrowed(folder)
    said = []
    environment = ensure(said.append, folder=folder)
    assert not said
    assert environment.python == interpreter(folder) and (folder / MARKER).exists()
    assert coach_environment.find(folder) == environment


def test_the_second_waits_for_the_first(folder):
    borrowed(folder)
    said, found = [], []
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: found.append(ensure(said.append, folder=folder)))
        second.start()
        assert eventually(lambda: said)
        assert "waiting" in said[0] and not found
    second.join(60)
    assert found[0].python == interpreter(folder)


def test_it_is_made_whatever_goes_wrong_on_the_way(folder, wheels):
    # an interpreter that is gone
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/nowhere/python3")
    # interrupted while pip waits for an index
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {
            **{name: value for name, value in os.environ.items() if name != "PIP_NO_INDEX"},
            "CODRIVER_COACH_ENVIRONMENT": str(folder),
            "PIP_INDEX_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/simple",
        }
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "feedback_service.coach_environment"]
        with subprocess.Popen(command, cwd=root, env=variables, stdout=subprocess.DEVNULL) as process:
            silent.settimeout(120)
            silent.accept()[0].close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
    assert eventually(lambda: not processes(str(folder)))
    assert not (folder / MARKER).exists()
    # a package that is not to be had
    wheel = wheels / "small_triton-1.0-py3-none-any.whl"
    wheel.rename(wheels / "elsewhere")
    with pytest.raises(CoachEnvironmentError, match="No matching distribution found for small-triton==1.0"):
        ensure(folder=folder, wanted=WANTED)
    assert not (folder / MARKER).exists()
    # and then all is well
    (wheels / "elsewhere").rename(wheel)
    said = []
    environment = ensure(said.append, folder=folder, wanted=WANTED)
    assert environment.python.exists() and (environment.triton / "bin" / "tritonserver").exists()
    assert "  unpacking" in said
    said.clear()
    assert ensure(said.append, folder=folder, wanted=WANTED) == environment and not said
    # another codriver wants more
    more = Wanted(("somemodel==2.0",), None, WANTED.sources, WANTED.triton)
    with pytest.raises(CoachEnvironmentError, match=r"lacks somemodel==2\.0"):
        ensure(folder=folder, wanted=more)


def test_pips_chatter_becomes_what_is_large():
    said = []
    narrate = narrator(said.append)
    for line in (
        "Collecting torch==2.13.0",
        "  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (30 kB)",
        "Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (899.7 MB)",
        "  Downloading https://host/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl (1.1 GB)",
        "Using cached nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl (55.4 MB)",
        "Requirement already satisfied: numpy in /somewhere (1.26.4)",
        "Installing collected packages: torch",
    ):
        narrate(line)
    assert said == [
        "  torch-2.13.0 (899.7 MB)",
        "  torch-2.13.0%2Bcpu (1.1 GB)",
        "  nvidia_pytriton-0.7.0 (55.4 MB)",
        "  unpacking",
    ]


def test_a_python_without_its_shared_library_is_said_before_anything_hangs(folder):
    (folder / "bin").mkdir(parents=True)
    facts = {"version": "3.11", "wheels": "/w", "library": "libpython3.11.so.1.0", "libraries": ""}
    (folder / "bin" / "python").write_text(f"#!/bin/sh\necho '{json.dumps(facts)}'\n")
    (folder / "bin" / "python").chmod(0o755)
    with pytest.raises(CoachEnvironmentError, match=r"libpython3\.11\.so\.1\.0.*apt install libpython3\.11"):
        facts_of(folder)


def test_a_marker_that_is_no_marker_is_written_anew(folder):
    borrowed(folder)
    for text in ("", "{}", json.dumps({"digest": Wanted.here().digest}), "[1]"):
        (folder / MARKER).write_text(text)
        assert coach_environment.find(folder) is None
    ensure(folder=folder)
    assert coach_environment.find(folder) is not None


def test_the_digest_follows_constraints_and_requirements(tmp_path):
    pins = tmp_path / "constraints.txt"
    pins.write_text("# a comment\nnumpy==1.26.4\n")
    wanted = Wanted(("numpy<2",), pins, ("codriver",))
    first = wanted.digest
    pins.write_text("# another\nnumpy==1.26.4\n\n")
    assert wanted.digest == first
    pins.write_text("numpy==1.26.3\n")
    assert wanted.digest != first
    assert Wanted(("numpy<2", "torch"), pins, ("codriver",)).digest != wanted.digest


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODRIVER_COACH_ENVIRONMENT", str(tmp_path / "file" / "environment"))
    assert coach_environment.exec_module("somemodel", []) == 2
    assert coach_environment.main([]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "Not a directory" in said[0]


def test_a_module_runs_in_it_with_its_arguments_and_status(folder, monkeypatch):
    borrowed(folder)
    monkeypatch.setenv("CODRIVER_COACH_ENVIRONMENT", str(folder))
    assert coach_environment.exec_module("json.tool", ["--no-such-option"]) == 2
    assert coach_environment.exec_module("compileall", ["-q", str(folder / "bin")]) == 0


def test_pythons_that_do_not_fit_are_refused(monkeypatch, tmp_path):
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 127\n")  # a shim without a Python behind it
    (tmp_path / "python3.12").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CoachEnvironmentError, match=r"need Python 3\.11 or 3\.12 \(this is 3\.13\)"):
        python_for((3, 13))
    assert python_for((3, 12)) == sys.executable


@pytest.mark.parametrize(
    ("facts", "origin"),
    [
        ({}, ""),
        ({"url": "file:///wheels/x.whl", "archive_info": {}}, "file:///wheels/x.whl"),
        (
            {
                "url": "https://host/x",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
                "subdirectory": "clients/python",
            },
            "git+https://host/x@abc#subdirectory=clients/python",
        ),
    ],
)
def test_where_an_installed_codriver_came_from(facts, origin):
    assert _origin(facts) == origin
