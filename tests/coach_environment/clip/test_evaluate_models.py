import json

import numpy as np
import pytest

from codriver.coaching.vocabulary import NEAR
from feedback_service.measure.clip_figures import agreement, context_majority, majority, recall_by_class
from feedback_service.measure.models import KEYS, main


def test_figures_by_hand():
    straight, right, sharply_right, left = 5, 7, 6, 9  # all braking
    label = np.array([straight, right, right, left])
    answers = np.array([straight, sharply_right, left, left])
    figures = agreement(answers, label)
    assert figures["top1"] == 0.5 and figures["top1_neighbours"] == 0.75
    assert figures["left_right_confusion"] == pytest.approx(1 / 3)
    assert figures["longitudinal"] == 1.0 and figures["lateral"] == 0.5
    assert figures["lateral_recall"] == pytest.approx((1 + 0 + 1) / 3)
    assert NEAR[right, sharply_right] and majority(label) == 0.5
    assert context_majority(np.array([0, 1, 1, 2]), label)["top1"] == 1.0
    assert recall_by_class(answers, label)["lateral"]["turning right"] == {"rows": 2, "recall": 0.0}


def test_clip_is_measured_beside_its_bounds(run, other_drives, tmp_path, capsys):
    figure = tmp_path / "confusion.png"
    arguments = ["--data", str(other_drives), "--clip", str(run / "model"), "--only", "clip"]
    assert main([*arguments, "--json", "--figure", str(figure)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(KEYS) <= set(figures) and figures["vlm_parse_rate"] is None
    assert figures["samples"] == 120 and figures["drives"] == 2
    assert figures["clip_oracle_neighbours"] == figures["clip_oracle_top1"] == 1.0
    assert figures["clip_top1_neighbours"] >= figures["clip_top1"] > figures["clip_majority"]
    assert np.array(figures["clip_confusion"]).sum() == 120
    assert figure.read_bytes()[:4] == b"\x89PNG"


def test_people_get_a_table_and_a_warning_about_drives_that_were_trained_on(run, drives, capsys):
    assert (
        main(["--data", str(drives), "--clip", str(run / "model"), "--only", "clip", "--samples", "20"]) == 0
    )
    captured = capsys.readouterr()
    assert "one of 30 right" in captured.out and "commonest of all" in captured.out
    assert "was trained on these drives" in captured.err
