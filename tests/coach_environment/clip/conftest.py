import json
from pathlib import Path

import pytest

from feedback_service.finetune.clip.command import main
from tests.coach_environment.clip.drives import record

STEPS = ["--image-size", "32", "--batch", "32", "--warmup", "10", "--average", "0.9", "--lr", "3e-3"]


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """480 rows to train on."""
    return record(tmp_path_factory.mktemp("drives") / "train", 8, 60, seed=1)


@pytest.fixture(scope="session")
def other_drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rows to measure on, with the column of the expert that knows the speed's bin."""
    return record(tmp_path_factory.mktemp("other") / "measure", 2, 60, seed=2, oracle=True)


@pytest.fixture(scope="session")
def run(drives: Path, other_drives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run of the small model at 32 pixels, without held-out episodes."""
    out = tmp_path_factory.mktemp("runs") / "drawn"
    arguments = ["--data", str(drives), "--validate", str(other_drives), "--out", str(out), *STEPS]
    assert main([*arguments, "--epochs", "4", "--report-every", "960", "--held-out", "0"]) == 0
    return out


@pytest.fixture(scope="session")
def report(run: Path) -> dict:
    return json.loads((run / "report.json").read_text())
