"""The dispatcher: verbs of any package, one-line errors, and a quick start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import codriver
from codriver import cli
from tests.codriver.loopback import Loopback

pytestmark = pytest.mark.compat

VERBS = {
    "greet.py": '"""``codriver greet``: Say hello.\n\nMore."""\n'
    'def main(argv):\n    print("hello", *argv)\n    return 3\n',
    "needy.py": '"""Look at a drive."""\nimport rerun_that_is_missing\n',
    "viewer.py": '"""Look at a drive."""\nimport rerun.blueprint\n',
    "wrong.py": '"""Fail."""\nfrom codriver.errors import NotFoundError\n'
    'def main(argv):\n    raise NotFoundError("no such town", hint="Try alder.")\n',
}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package that brings verbs."""
    package = tmp_path / "plug"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('the package is imported too early')")
    for name, text in VERBS.items():
        (tmp_path / f"plug_{name}").write_text(text)
    (package / "inner.py").write_text('"""Inside a package."""\n')
    info = tmp_path / "plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    lines = {"greet": "greet", "bench.greet": "greet", "needy": "needy", "viewer": "viewer", "wrong": "wrong"}
    points = "".join(f"{verb} = plug_{module}:main\n" for verb, module in lines.items())
    (info / "entry_points.txt").write_text(f"[codriver.commands]\n{points}inner = plug.inner:main\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def run(capsys, *argv):
    status = cli.main(argv)
    out, err = capsys.readouterr()
    return status, out, err


def test_verbs_of_one_and_two_words(plugin, capsys):
    assert run(capsys, "greet", "you") == (3, "hello you\n", "")
    assert run(capsys, "bench", "greet", "--x") == (3, "hello --x\n", "")


def test_help_lists_verbs_without_importing_them(plugin, capsys):
    sys.modules.pop("plug_greet", None)
    status, out, _ = run(capsys, "--help")
    assert status == 0
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert {"greet Say hello.", "bench greet Say hello.", "inner Inside a package."} <= lines
    assert "plug_greet" not in sys.modules and "plug" not in sys.modules
    status, out, _ = run(capsys, "bench", "--help")
    assert status == 0 and "bench greet" in out and "wrong" not in out
    assert run(capsys)[0] == 2


def test_one_line_errors(plugin, capsys):
    assert run(capsys, "wrong") == (2, "", "codriver: no such town. Try alder.\n")
    status, _, err = run(capsys, "gret")
    assert status == 2 and "Did you mean `codriver greet`?" in err
    status, _, err = run(capsys, "zzz")
    assert status == 2 and "codriver --help" in err and err.count("\n") == 1
    with pytest.raises(ModuleNotFoundError):  # not an extra of ours: the traceback is the honest answer
        cli.main(["needy"])


def test_missing_extra(plugin, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    status, _, err = run(capsys, "viewer")
    assert status == 2
    assert err == "codriver: `codriver viewer` needs rerun: pip install 'codriver[view]'\n"


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"codriver {codriver.__version__}\n", "")


def test_info(tmp_path, capsys):
    from codriver import info

    with Loopback(tmp_path / "s") as server:
        assert info.main([server.address, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["policies"][0]["tensors"][0] == {
            "name": "bev_masks",
            "dtype": "uint8",
            "shape": [15, 96, 96],
            "encoding": "bit_planes",
        }
        assert facts["policies"][0]["card"] == {"kind": "echo"}
        info.main([server.address])
        assert "policy echo version 1 (default)" in capsys.readouterr().out


CHECK = """
import time, sys
t = time.process_time()
import codriver
a = time.process_time() - t
heavy = sorted({"numpy", "grpc", "google.protobuf", "gymnasium"} & set(sys.modules))
t = time.process_time()
codriver.AgentClient, codriver.RemotePolicy
print(a, time.process_time() - t, heavy)
"""


def test_import_is_quick():
    """`import codriver` stays under 0.3 s of CPU and loads nothing heavy; everything else follows on first use."""
    environment = {**os.environ, "PYTHONPATH": str(Path(codriver.__file__).parents[1])}
    best = 1e9
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, "-c", CHECK], env=environment, check=True, capture_output=True, text=True
        )
        first, _, heavy = out.stdout.split(maxsplit=2)
        assert heavy.strip() == "[]"
        best = min(best, float(first))
    assert best < 0.3
    with pytest.raises(AttributeError):
        _ = codriver.nothing
