"""Rows a second through the feedback service and Triton over those of the bare batched model, in turns in one run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback_service.bench.annotate_load import AnnotateJob
from feedback_service.bench.async_ratio import Cores
from feedback_service.bench.programs import feedback_service, once
from feedback_service.bench.report import Say

ANNOTATE, BARE = "feedback_service.bench.annotate_load", "feedback_service.bench.bare"
TABLE_8_RUNS = 1000
"""Forward passes of the paper's Table 8."""


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    Attributes:
        name: For people.
        kind: "clip" or "vlm".
        directory: Its model directory.
        batch: Rows of a bare call.
        store_arguments: Arguments of ``codriver feedback`` that make it the model of its kind.
    """

    name: str
    kind: str
    directory: Path
    batch: int
    store_arguments: tuple[str, ...] = ()


def efficiency(
    subject: Subject, python: str, cores: Cores, seconds: float, rounds: int, data: str, say: Say
) -> dict[str, Any]:
    """One model: the model's thread on one core in both arms, service and asker on the other."""
    say(f"{subject.name}: service and Triton against the bare batched model")
    model_cores = ",".join(map(str, cores.one))
    bare_job = [
        subject.kind,
        str(subject.directory),
        "--batch",
        str(subject.batch),
        "--seconds",
        str(seconds),
    ]
    served, bare, shares = [], [], []
    with feedback_service(
        "embedded", cores.other, "--triton-cores", model_cores, *subject.store_arguments
    ) as address:
        for _ in range(rounds):
            yardstick = once(BARE, [*bare_job, "--data", data], cores.one, python=python)
            job = AnnotateJob(
                address,
                subject.kind,
                seconds=seconds,
                outstanding=4 * subject.batch,
                timeout_ms=120_000,
                wait_s=120.0,
                data=data,
            )
            answered = once(ANNOTATE, job, cores.other)
            bare.append(yardstick["rows_per_s"])
            served.append(answered)
            shares.append(answered["values_per_s"] / yardstick["rows_per_s"])
    return {
        "part": "efficiency",
        "model": subject.name,
        "batch": subject.batch,
        "efficiency": round(statistics.median(shares), 4),
        "efficiencies": [round(share, 4) for share in shares],
        "rows_per_s": round(statistics.median(result["values_per_s"] for result in served), 1),
        "bare_rows_per_s": round(statistics.median(bare), 1),
        "unanswered": sum(result["unanswered"] for result in served),
        "duplicated": sum(result["duplicated"] for result in served),
    }


def table_8(subject: Subject, python: str, cores: Cores, data: str, say: Say) -> dict[str, Any]:
    """The paper's protocol: the mean rate over 1,000 consecutive forward passes at batch 1."""
    say(f"{subject.name}: {TABLE_8_RUNS} forward passes")
    job = [subject.kind, str(subject.directory), "--batch", "1", "--runs", str(TABLE_8_RUNS), "--data", data]
    figures = once(BARE, job, cores.one, python=python, timeout_s=1800.0)
    return {
        "part": "table 8",
        "model": subject.name,
        "parameters": figures["parameters"],
        "forward_passes": figures["runs"],
        "fps": round(figures["rows_per_s"], 2),
    }
