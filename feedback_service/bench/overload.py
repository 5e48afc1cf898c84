"""Availability and age of answers against offered load, up to four times what a coach can do."""

from __future__ import annotations

from typing import Any

from feedback_service.bench.annotate_load import AnnotateJob
from feedback_service.bench.async_ratio import Cores
from feedback_service.bench.programs import feedback_service, once
from feedback_service.bench.report import Say

ANNOTATE = "feedback_service.bench.annotate_load"
LOADS = (0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 4.0)
"""Offered load as a share of capacity."""
TIMEOUT_MS = 2_000


def overload(kind: str, cores: Cores, seconds: float, data: str, say: Say) -> list[dict[str, Any]]:
    """One entry a load: what share is answered with a value, how late, and why the rest is not."""
    runs = []
    arguments = ("--triton-cores", ",".join(map(str, cores.one)))
    with feedback_service("embedded", cores.other, *arguments) as address:
        capacity = once(
            ANNOTATE, AnnotateJob(address, kind, seconds=seconds, outstanding=128, data=data), cores.other
        )["values_per_s"]
        for load in LOADS:
            say(f"{kind}: offered load {load:g} x capacity ({capacity:.0f}/s)")
            job = AnnotateJob(
                address,
                kind,
                seconds=max(seconds, 2 * TIMEOUT_MS / 1e3),
                rate_per_s=load * capacity,
                timeout_ms=TIMEOUT_MS,
                data=data,
            )
            result = once(ANNOTATE, job, cores.other)
            runs.append(
                {
                    "part": f"offered load, {kind}",
                    "load": load,
                    "offered_per_s": round(load * capacity, 1),
                    "values_per_s": round(result["values_per_s"], 1),
                    "availability": round(result["availability"], 4),
                    "capacity_per_s": round(capacity, 1),
                    "unanswered": result["unanswered"],
                    "duplicated": result["duplicated"],
                    "latency_s_p50_p99": result["latency_s_p50_p99"],
                    "age_steps_p50_p99": result["age_steps_p50_p99"],
                    "outcomes": result["outcomes"],
                }
            )
    return runs
