"""The two distributions: what they install, what they depend on, which commands they bring."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = {
    "codriver": ROOT / "pyproject.toml",
    "codriver-client": ROOT / "clients" / "python" / "pyproject.toml",
}
TABLES = {name: tomllib.loads(path.read_text())["project"] for name, path in PROJECTS.items()}
COMMANDS = {
    verb: target
    for project in TABLES.values()
    for verb, target in project.get("entry-points", {}).get("codriver.commands", {}).items()
}


def pins(name: str) -> dict[str, str]:
    """Versions by package of a constraints file."""
    lines = ROOT.joinpath(name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(package): version.strip() for package, version in pairs}


PINS = {name: pins(name) for name in ("constraints.txt", "constraints-coach.txt")}


def requirements() -> list[tuple[str, Requirement]]:
    """Everything that either project or any of its extras asks for, with the constraints that it is installed by."""
    texts: list[tuple[str, str]] = []
    for project in TABLES.values():
        texts += [(file, text) for file in PINS for text in project["dependencies"]]
        for extra, wanted in project["optional-dependencies"].items():
            # the extra of the models behind Triton has an environment of its own
            file = "constraints-coach.txt" if extra == "coach" else "constraints.txt"
            texts += [(file, text) for text in wanted]
    found = [(file, Requirement(text)) for file, text in texts]
    return [(file, one) for file, one in found if canonicalize_name(one.name) not in PROJECTS]


@pytest.mark.parametrize(("file", "requirement"), requirements(), ids=str)
def test_pinned_within_bounds(file, requirement):
    assert requirement.specifier.contains(PINS[file][canonicalize_name(requirement.name)])


@pytest.mark.parametrize("file", PINS)
def test_pins_name_no_host_and_no_local_build(file):
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", pin) for pin in PINS[file].values()), PINS[file]


def test_the_two_agree_on_the_version():
    version = TABLES["codriver-client"]["version"]
    assert TABLES["codriver"]["version"] == version
    assert f"codriver-client=={version}" in TABLES["codriver"]["dependencies"]


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    module, _, function = COMMANDS[verb].partition(":")
    main = getattr(importlib.import_module(module), function)
    with pytest.raises(SystemExit) as ending:
        main(["--help"])
    assert ending.value.code == 0
    assert f"codriver {verb.replace('.', ' ')}" in capsys.readouterr().out.partition("\n\n")[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> list[str]:
    """Names in the wheels of both projects, built from the tracked and untracked files of this checkout."""
    tree = tmp_path_factory.mktemp("tree")
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    for name in listing.stdout.splitlines():
        source = ROOT / name
        if source.is_file():
            tree.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tree / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ]
    subprocess.run([*pip, str(tree / "wheels"), str(tree), str(tree / "clients/python")], check=True)
    names: list[str] = []
    for wheel in tree.joinpath("wheels").glob("*.whl"):
        names += zipfile.ZipFile(wheel).namelist()
    return names


def test_wheels_hold_the_packages_and_nothing_else(installed):
    tops = {name.partition("/")[0] for name in installed}
    packages = {"codriver", "sim_clients", "agent_server", "feedback_service"}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert all(f"{package}/py.typed" in installed for package in packages)


def test_wheels_hold_all_data_that_the_checkout_has(installed):
    folders = [ROOT / "sim_clients", ROOT / "agent_server", ROOT / "feedback_service"]
    data = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in data if "__pycache__" not in path.parts}
    assert wanted - set(installed) == set()


def test_the_client_wheel_has_its_stubs(installed):
    assert {"codriver/v1/agent_service_pb2.py", "codriver/v1/agent_service_pb2.pyi"} <= set(installed)
