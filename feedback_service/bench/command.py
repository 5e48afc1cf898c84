"""``codriver bench feedback``: what coaching costs the drive, and how much of Triton's speed comes through."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from codriver.errors import CodriverError
from feedback_service.bench.async_ratio import LATENCIES_S, Cores, injected, real_models
from feedback_service.bench.efficiency import Subject, efficiency, table_8
from feedback_service.bench.overload import overload
from feedback_service.bench.programs import once
from feedback_service.bench.report import say, tables
from feedback_service.coach_environment import ensure

PARTS = ("async", "real", "efficiency", "overload", "published", "table8")
SHIPPED = Path(__file__).resolve().parents[1] / "shipped"
TOWER = "vit-b-16"


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        prog="codriver bench feedback",
        description="What coaching costs the drive, what the coaches answer, and how much of a model's bare speed "
        "comes through service and Triton; ratios within one run.",
        epilog="example: codriver bench feedback --part async --part real --json",
        allow_abbrev=False,
    )
    p.add_argument(
        "--part", action="append", choices=PARTS, help="only this part; repeat it for more (default: all)"
    )
    p.add_argument(
        "--seconds", type=float, default=3.0, help="length of one measurement (default: %(default)s)"
    )
    p.add_argument(
        "--rounds", type=int, default=3, help="how often each pair is measured (default: %(default)s)"
    )
    p.add_argument(
        "--latency-s",
        type=float,
        action="append",
        metavar="S",
        help="of the part async: only a coach of this latency; repeat it for more (default: 0, 1, 10, 40)",
    )
    p.add_argument(
        "--data", default="", metavar="DIR", help="recorded dataset to show (default: made-up rows)"
    )
    p.add_argument("--json", action="store_true", help="print the figures as JSON")
    return p


def main(argv: list[str]) -> int:
    """Runs the verb."""
    args = parser().parse_args(argv)
    if args.rounds < 1 or args.seconds <= 0 or min(args.latency_s or [0.0]) < 0:
        parser().error("--rounds must be at least 1, --seconds more than 0, --latency-s at least 0")
    try:
        report = run(args)
    except CodriverError as error:
        print(f"codriver bench feedback: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(report))
    else:
        tables(report)
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measures; the report as it is printed with ``--json``."""
    there = sorted(os.sched_getaffinity(0))
    cores = Cores(there[:1], there[1:] or there)
    parts = set(args.part or PARTS)
    environment = str(ensure(say).python)
    runs: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        if "async" in parts:
            latencies_s = tuple(args.latency_s or LATENCIES_S)
            runs += injected(cores, args.seconds, args.rounds, args.data, say, latencies_s)
        if "real" in parts:
            runs += real_models(cores, args.seconds, args.rounds, args.data, say)
        if "efficiency" in parts:
            tower = _tower(Path(stack.enter_context(tempfile.TemporaryDirectory())), environment, cores)
            for subject in (*_shipped(), tower):
                # a batch of the large tower takes seconds
                seconds = args.seconds if subject is not tower else max(30.0, args.seconds)
                rounds = args.rounds if subject is not tower else 1
                runs.append(efficiency(subject, environment, cores, seconds, rounds, args.data, say))
        if "overload" in parts:
            for kind in ("clip", "vlm"):
                runs += overload(kind, cores, args.seconds, args.data, say)
        if "published" in parts:
            from feedback_service.bench.side_by_side import side_by_side

            runs += side_by_side(cores, args.data, say)
        if "table8" in parts:
            runs += [table_8(subject, environment, cores, args.data, say) for subject in _shipped()]
    return {"runs": runs, **figures(runs), "setting": _setting(args, cores)}


def figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures by name; those of parts that were not measured are missing."""
    ours = [run for run in runs if not run["part"].startswith("published")]
    found: dict[str, Any] = {
        "unanswered": sum(run.get("unanswered", 0) for run in ours),
        "duplicated": sum(run.get("duplicated", 0) for run in ours),
        "async_ratio_min": _least(run["ratio"] for run in runs if run["part"] == "injected"),
        "async_ratio_real_models": _least(run["ratio"] for run in runs if run["part"] == "real models"),
        "triton_efficiency": _least(
            run["efficiency"] for run in runs if run["part"] == "efficiency" and run["model"] != "clip-small"
        ),
        "triton_efficiency_small_clip": _least(
            run["efficiency"] for run in runs if run["part"] == "efficiency" and run["model"] == "clip-small"
        ),
        "availability": _least(
            run["availability"] for run in runs if run["part"] == "offered load, clip" and run["load"] <= 0.9
        ),
    }
    return {name: value for name, value in found.items() if value is not None}


def _least(values: Iterable[float]) -> float | None:
    return min(values, default=None)


def _shipped() -> list[Subject]:
    return [
        Subject("clip-small", "clip", SHIPPED / "clip-small", batch=32),
        Subject("vlm-small", "vlm", SHIPPED / "vlm-small", batch=32),
    ]


def _tower(folder: Path, environment: str, cores: Cores) -> Subject:
    """A CLIP in the shape of ViT-B/16 with random weights: the speed does not depend on them."""
    say("making a ViT-B-16 with random weights")
    once("feedback_service.bench.random_tower", [str(folder / TOWER)], cores.one, python=environment)
    store = folder / "store"
    for words in (
        ["add", "clip", str(folder / TOWER), "--name", TOWER],
        ["use", TOWER],
    ):
        _verb([*words, "--store", str(store)])
    return Subject(TOWER, "clip", folder / TOWER, batch=32, store_arguments=("--store", str(store)))


def _verb(words: list[str]) -> None:
    from codriver.cli import main as codriver

    with contextlib.redirect_stdout(sys.stderr):
        status = codriver(["models", *words])
    if status:
        raise CodriverError(f"codriver models {words[0]} ended with status {status}")


def _setting(args: argparse.Namespace, cores: Cores) -> dict[str, Any]:
    return {
        "rows": f"recorded, from {args.data}" if args.data else "made up: boxes on a road",
        "cores": {"policy, simulator or model": cores.one, "everything else": cores.other},
        "model_threads": 1,
        "seconds": args.seconds,
        "rounds": args.rounds,
        "ratios": "median over rounds of two measurements that follow each other",
    }
