"""The light half of ``codriver finetune vlm``: no model library is needed."""

import subprocess
import sys

import pytest

from feedback_service.finetune import vlm_command

MODULE = "feedback_service.finetune.vlm_command"


def test_help_costs_no_heavy_import_and_ends_with_an_example():
    code = (
        f"import sys, {MODULE} as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in ('torch', 'transformers', 'PIL', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    *said, heavy = done.stdout.splitlines()
    assert heavy == "[]" and "usage: codriver finetune vlm" in done.stdout
    assert "example: codriver finetune vlm" in "\n".join(said[-3:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "--data is missing"),
        (["--data", "x"], "--out is missing"),
        (["--data", "x", "--out", "y", "--model", "nowhere"], "neither 'small' nor a directory"),
        (["--data", "x", "--out", "y", "--minutes", "0"], "--minutes"),
        (["--data", "x", "--out", "y", "--batch", "0"], "--batch"),
        (["--data", "x", "--out", "y", "--balance", "2"], "--balance"),
    ],
)
def test_bad_options_are_one_line_and_status_2(arguments, message, capsys):
    assert vlm_command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("codriver finetune vlm: ")
