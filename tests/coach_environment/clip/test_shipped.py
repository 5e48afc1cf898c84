"""The shipped model on six pictures of held-out drives; ``scores.json`` is what it answered when it was shipped."""

import json
from pathlib import Path

import numpy as np

from feedback_service.measure.command import SHIPPED
from feedback_service.models.clip.card import read_card
from feedback_service.models.clip.scorer import ClipScorer

PICTURES = Path(__file__).parent / "pictures"
MODEL = SHIPPED / "clip-small"


def test_the_shipped_model_scores_as_recorded():
    rows = json.loads((PICTURES / "scores.json").read_text())
    scorer = ClipScorer(MODEL, dtype="fp32")
    files = [(PICTURES / row["picture"]).read_bytes() for row in rows]
    probabilities, errors = scorer.score(files, np.array([row["context"] for row in rows]))
    assert errors == [""] * len(rows)
    np.testing.assert_allclose(probabilities, [row["probabilities"] for row in rows], atol=0.01)
    right = probabilities.argmax(axis=1) == [row["expert"] for row in rows]
    assert right.sum() >= 4


def test_its_card_says_where_it_comes_from_and_how_good_it_is():
    card = read_card(MODEL)
    towns = {origin["town"] for entry in card.facts["training"]["data"] for origin in entry["provenance"]}
    assert towns == {"alder", "cedar", "elder"}
    figures = card.facts["metrics"]["held_out_birch"]
    assert figures["clip_top1"] > 0.6 > figures["clip_majority"]
    assert figures["clip_top1_neighbours"] > 0.9 * figures["clip_oracle_neighbours"]
    assert figures["clip_left_right_confusion"] < 0.02
    assert card.facts["rebuild"] and card.facts["licence"] == "Apache-2.0"
    assert (MODEL / card.weights).stat().st_size < 10 * 2**20
