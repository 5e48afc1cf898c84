import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedback_service.finetune.vlm.command import main
from tests.coach_environment.clip.drives import record
from tests.coach_environment.vlm.checkpoints import write


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """A picture of noise, by seed."""

    def make(seed: int, size: int = 192) -> bytes:
        file = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a small random checkpoint, by family."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = write(family, tmp_path_factory.mktemp("checkpoints") / family)
        return made[family]

    return make


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rows to learn by heart."""
    return record(tmp_path_factory.mktemp("drives") / "handful", 1, 6, seed=3)


@pytest.fixture(scope="session")
def run(drives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run of the small model on them."""
    out = tmp_path_factory.mktemp("runs") / "handful"
    arguments = ["--data", str(drives), "--out", str(out), "--validate", str(drives), "--name", "handful"]
    assert main([*arguments, "--steps", "120", "--batch", "4", "--rate", "2e-3"]) == 0
    return out
