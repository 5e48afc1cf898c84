"""The light halves of ``codriver finetune clip`` and ``codriver evaluate-models``: no model library is needed."""

import subprocess
import sys

import pytest

from feedback_service.finetune import clip_command
from feedback_service.measure import command


@pytest.mark.parametrize(
    "module", ["feedback_service.finetune.clip_command", "feedback_service.measure.command"]
)
def test_help_costs_no_heavy_import(module):
    code = (
        f"import sys, {module} as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in ('torch', 'open_clip', 'transformers', 'PIL') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]" and "usage: codriver" in done.stdout


def test_finetune_says_what_is_missing(capsys):
    assert clip_command.main(["--out", "x"]) == 2
    assert "--data is missing" in capsys.readouterr().err


def test_without_drives_the_command_that_records_them_is_named(tmp_path, capsys):
    assert command.main(["--data", str(tmp_path / "none")]) == 2
    line = capsys.readouterr().err
    assert f"codriver collect --out {tmp_path / 'none'} --town birch" in line and "--speed-bin-oracle" in line


def test_what_is_not_valid_is_said(tmp_path, capsys):
    assert command.main(["--threads", "0"]) == 2
    assert "--threads is 0" in capsys.readouterr().err
    assert command.main(["--data", str(tmp_path)]) == 2
    assert "manifest.json" in capsys.readouterr().err
