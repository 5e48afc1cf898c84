"""The shipped model on a handful of recorded rows of a town that it was not trained in."""

import json
from pathlib import Path

import numpy as np
import pytest

from codriver.coaching.vocabulary import lateral_index, longitudinal_index
from feedback_service.coaches.parse import VlmControl, parse_action
from feedback_service.models.vlm.generator import VlmGenerator
from feedback_service.registry.vlm_directory import inspect_vlm

SHIPPED = Path(__file__).parents[3] / "feedback_service" / "shipped" / "vlm-small"
ROWS = Path(__file__).parent / "rows"


@pytest.fixture(scope="module")
def rows():
    return json.loads((ROWS / "rows.json").read_text())


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_its_answers_are_well_formed_and_mostly_the_experts(rows, dtype):
    generator = VlmGenerator(SHIPPED, dtype=dtype)
    pictures = [(ROWS / row["picture"]).read_bytes() for row in rows]
    texts, errors = generator.answer(pictures, [row["prompt"] for row in rows])
    assert not any(errors)
    answers = [parse_action(text) for text in texts]
    assert all(isinstance(answer, VlmControl) for answer in answers)
    assert all(list(json.loads(text)) == ["throttle", "steer", "brake"] for text in texts)
    said, expert = np.array(answers), np.array([row["control"] for row in rows])
    assert (longitudinal_index(said) == longitudinal_index(expert)).mean() >= 0.6
    assert (lateral_index(said) == lateral_index(expert)).mean() >= 0.6


def test_its_card_says_what_it_is():
    card = json.loads((SHIPPED / "card.json").read_text())
    assert inspect_vlm(SHIPPED)[1] == card["parameters"]
    assert VlmGenerator(SHIPPED).family == card["family"] == "fast_vlm"
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 8e6
