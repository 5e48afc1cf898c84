"""The published asynchronous queue and ours under the same load and the same model: who answers what, how late.

Theirs is a model of it in virtual time (:mod:`feedback_service.bench.published_queue`); ours is the service itself,
over gRPC, in front of a Triton that takes as long as the model does. One call at a time and the published batch size
for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from feedback_service.bench.annotate_load import AnnotateJob
from feedback_service.bench.async_ratio import CONFIGURED, Cores
from feedback_service.bench.programs import feedback_service, injected_triton, once
from feedback_service.bench.published_load import PublishedLoad, published
from feedback_service.bench.report import Say

ANNOTATE = "feedback_service.bench.annotate_load"


@dataclass(frozen=True)
class Case:
    """One model under one load.

    Attributes:
        kind: ``vlm`` or ``clip``.
        batch: The published batch size.
        batch_s: Time of the model for a call.
        row_s: Time for each row of it on top.
    """

    kind: str
    batch: int
    batch_s: float
    row_s: float


CASES = (Case("vlm", 64, 0.5, 0.02), Case("clip", 32, 0.05, 0.005))
ENVS, STEP_S, SECONDS, WAIT_S = 4, 0.1, 30.0, 30.0


def side_by_side(cores: Cores, data: str, say: Say) -> list[dict[str, Any]]:
    """Three entries a case: as published, with its lost answers repaired, and ours."""
    runs: list[dict[str, Any]] = []
    for case in CASES:
        say(f"{case.kind}: the published queue and ours, {ENVS} environments, one request a step")
        load = {"kind": case.kind, "envs": ENVS, "step_s": STEP_S, "seconds": SECONDS, "wait_s": WAIT_S}
        times = {"batch_s": case.batch_s, "row_s": case.row_s}
        for queue, repaired in (("as released", False), ("answers not lost", True)):
            result = published(PublishedLoad(**load, **times, repaired=repaired))  # type: ignore[arg-type]
            runs.append(_entry(case, queue, result, never=result["asked"] - result["answered"]))
        result = _ours(case, cores, data)
        result["answered"] = result["outcomes"].get("value", 0)
        runs.append(_entry(case, "codriver", result, never=result["unanswered"]))
    return runs


def _ours(case: Case, cores: Cores, data: str) -> dict[str, Any]:
    settings = (
        f"[{case.kind}]\nmax_calls_in_flight = 1\nmax_rows_per_call = {case.batch}\ncache_entries = 0\n"
    )
    with (
        injected_triton(case.batch_s, cores.one, case.row_s) as triton,
        feedback_service(triton, cores.other, *CONFIGURED, settings=settings) as address,
    ):
        job = AnnotateJob(
            address,
            case.kind,
            seconds=SECONDS,
            rate_per_s=ENVS / STEP_S,
            envs=ENVS,
            wait_s=WAIT_S,
            data=data,
        )
        return once(ANNOTATE, job, cores.other)


def _entry(case: Case, queue: str, result: dict[str, Any], never: int) -> dict[str, Any]:
    return {
        "part": f"published queue, {case.kind}",
        "queue": queue,
        "asked": result["asked"],
        "answered": result["answered"],
        "availability": round(result["availability"], 4),
        "never_answered": never,
        "latency_s_p50_p99": result["latency_s_p50_p99"],
        "age_steps_p50_p99": result["age_steps_p50_p99"],
    }
