"""The benchmark of the feedback service measures what it says: small runs of its parts, and its figures by name."""

import json
import os

import pytest

from feedback_service.bench.annotate_load import AnnotateJob
from feedback_service.bench.async_ratio import CONFIGURED, Cores, injected
from feedback_service.bench.command import figures, main
from feedback_service.bench.programs import feedback_service, injected_triton, once
from feedback_service.bench.report import tables

CORES = sorted(os.sched_getaffinity(0))
CORES = Cores(CORES[:1], CORES[1:] or CORES)


def test_a_coached_drive_is_measured_beside_an_uncoached_one():
    runs = injected(CORES, 0.5, 1, "", lambda _: None, latencies_s=(0.2,))
    assert [run["bound"] for run in runs] == ["policy", "simulator"]
    for run in runs:
        assert run["ratio"] > 0 and run["steps_per_s_off"] > 0
        assert run["unanswered"] == run["duplicated"] == 0
        assert run["coaches"]["vlm"]["outcomes"]["value"] > 0
    json.dumps(runs)


def test_load_counts_what_a_service_answers_and_what_it_refuses():
    with (
        injected_triton(0.5, CORES.one) as triton,
        feedback_service(triton, CORES.other, *CONFIGURED) as address,
    ):
        result = once(
            "feedback_service.bench.annotate_load",
            AnnotateJob(address, "clip", seconds=1.0, rate_per_s=1000.0, timeout_ms=3000),
            CORES.other,
        )
    outcomes = result["outcomes"]
    assert result["unanswered"] == result["duplicated"] == 0
    assert sum(outcomes.values()) == result["asked"]
    assert 0 < outcomes["value"] < result["asked"] and outcomes["backlog"] > 0
    assert result["availability"] == outcomes["value"] / result["asked"]


def test_figures_are_the_worst_of_their_runs_and_missing_where_nothing_was_measured():
    runs = [
        {"part": "injected", "ratio": 0.99, "unanswered": 1, "duplicated": 0},
        {"part": "injected", "ratio": 0.98, "unanswered": 0, "duplicated": 2},
        {"part": "efficiency", "model": "clip-small", "efficiency": 0.8},
        {"part": "efficiency", "model": "vlm-small", "efficiency": 0.97},
        {"part": "efficiency", "model": "vit-b-16", "efficiency": 0.96},
        {"part": "offered load, clip", "load": 0.5, "availability": 0.999},
        {"part": "offered load, clip", "load": 4.0, "availability": 0.2},
        {"part": "published queue, vlm", "availability": 0.0, "duplicated": 7},
    ]
    assert figures(runs) == {
        "unanswered": 1,
        "duplicated": 2,
        "async_ratio_min": 0.98,
        "triton_efficiency": 0.96,
        "triton_efficiency_small_clip": 0.8,
        "availability": 0.999,
    }


def test_tables_show_every_part(capsys):
    tables({"runs": [{"part": "table 8", "model": "clip-small", "fps": 812.5}], "unanswered": 0})
    shown = capsys.readouterr().out
    assert "table 8" in shown and "clip-small" in shown and "unanswered: 0" in shown


def test_bad_options_are_refused():
    with pytest.raises(SystemExit) as ended:
        main(["--rounds", "0"])
    assert ended.value.code == 2
