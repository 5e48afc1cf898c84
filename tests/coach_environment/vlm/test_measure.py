import numpy as np
import pytest

from codriver.coaching.vocabulary import LATERAL, LONGITUDINAL
from feedback_service.finetune.vlm.rows import load_rows
from feedback_service.measure.vlm import choose_rows, measure_vlm, summary

BRAKE, GO, RIGHT = (0.0, 0.0, 0.2), (0.5, 0.0, 0.0), (0.5, 0.2, 0.0)
NOTHING = (np.nan,) * 3


def test_recall_counts_every_class_alike_and_unreadable_answers_as_missed():
    expert = np.array([BRAKE, GO, GO, GO, RIGHT], np.float32)
    answers = np.array([BRAKE, GO, GO, NOTHING, GO], np.float32)
    figures = summary(expert, answers, np.ones(5))
    assert figures["samples"] == 5 and figures["vlm_parse_rate"] == pytest.approx(0.8)
    # braking 1 of 1, accelerating 3 of 4; straight 3 of 4, right 0 of 1
    assert figures["vlm_longitudinal_recall"] == pytest.approx((1 + 3 / 4) / 2)
    assert figures["vlm_lateral_recall"] == pytest.approx((3 / 4 + 0) / 2)
    assert figures["vlm_majority"] == pytest.approx(0.5)
    assert figures["longitudinal_majority_share"] == pytest.approx(0.8)
    assert figures["longitudinal_classes"]["braking"] == {"recall": 1.0, "samples": 1, "share": 0.2}
    assert set(figures["lateral_classes"]) == {LATERAL[0], LATERAL[2]}
    assert figures["longitudinal_confusion"][LONGITUDINAL.index("braking")][1] == 1
    assert figures["steer_mean_error"] == pytest.approx(0.2 / 4)


def test_rows_that_were_looked_at_more_often_count_less():
    expert = np.array([GO, GO, RIGHT], np.float32)
    answers = np.array([GO, RIGHT, RIGHT], np.float32)
    even, weighted = summary(expert, answers, np.ones(3)), summary(expert, answers, np.array([9.0, 1, 1]))
    assert even["lateral_accuracy"] == pytest.approx(2 / 3)
    assert weighted["lateral_accuracy"] == pytest.approx(10 / 11)


def test_a_limited_choice_keeps_the_rare_rows_and_stands_for_all(drives):
    rows = load_rows([drives])
    common = int(np.flatnonzero(rows.longitudinal == 1)[0])
    rare = int(np.flatnonzero(rows.longitudinal != 1)[0])
    rows = rows.take(np.array([common] * 3000 + [rare] * 10))
    chosen, weight = choose_rows(rows, 120, np.random.default_rng(1))
    assert 70 < len(chosen) < 180 and (chosen >= 3000).sum() == 10
    assert weight.sum() == pytest.approx(3010, rel=0.35)
    chosen, weight = choose_rows(rows, None, np.random.default_rng(1))
    assert len(chosen) == 3010 and (weight == 1).all()


def test_a_model_is_measured_on_a_dataset(run, drives):
    seen = []
    figures = measure_vlm(
        run / "model", drives, limit=None, progress=lambda done, of: seen.append((done, of))
    )
    assert seen == [(6, 6)] and figures["samples"] == 6
    assert figures["vlm_parse_rate"] == 1 and figures["throttle_mean_error"] < 0.05
