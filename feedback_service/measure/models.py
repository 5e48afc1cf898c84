"""The part of ``codriver evaluate-models`` that runs in the models' environment."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from codriver.errors import CodriverError
from feedback_service.measure.command import check, parser
from feedback_service.measure.table import tables

KEYS = (
    "clip_top1",
    "clip_top1_neighbours",
    "clip_oracle_neighbours",
    "clip_majority",
    "clip_left_right_confusion",
    "vlm_parse_rate",
    "vlm_longitudinal_recall",
    "vlm_lateral_recall",
    "vlm_majority",
    "samples",
)
"""Always in the JSON; None where they were not measured."""
Report = Callable[[int, int], None]


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0, 2 for bad input, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        check(arguments)
        figures = measure(arguments, console)
        if arguments.figure is not None and "clip_confusion" in figures:
            from feedback_service.measure.figure import draw_confusion

            title = (
                f"{figures['clip_model']['name']}, {figures['samples']:,} pictures of {arguments.data.name}"
            )
            draw_confusion(np.array(figures["clip_confusion"]), arguments.figure, title)
    except (CodriverError, OSError) as error:
        print(f"codriver evaluate-models: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("codriver evaluate-models: interrupted", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(figures))
    else:
        for table in tables(figures):
            Console().print(table)
    return 0


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measures the models.

    Returns:
        ``KEYS`` and whatever else each measurement says.

    Raises:
        CodriverError: A model or the drives cannot be used.
    """
    figures: dict[str, Any] = dict.fromkeys(KEYS)
    figures["data"] = str(arguments.data)
    if arguments.only in (None, "clip"):
        from feedback_service.measure.clip import load_held_out, measure_clip, trained_on

        rows = load_held_out(arguments.data, arguments.samples)
        figures["drives"], figures["provenance"] = rows.episodes, rows.provenance
        if trained_on(arguments.clip, rows.provenance):
            console.print(f"[yellow]{arguments.clip.name} was trained on these drives[/]", highlight=False)
        report = _bar(console, "CLIP")
        figures |= measure_clip(
            arguments.clip, rows, threads=arguments.threads, device=arguments.device, progress=report
        )
    if arguments.only in (None, "vlm"):
        from feedback_service.measure.vlm import measure_vlm

        found = measure_vlm(
            arguments.vlm,
            arguments.data,
            limit=arguments.vlm_samples or None,
            threads=arguments.threads,
            progress=_bar(console, "VLM"),
        )
        vlm_samples = found.pop("samples", None)
        figures |= {
            name if name.startswith("vlm_") else f"vlm_{name}": value for name, value in found.items()
        }
        figures["vlm_samples"] = vlm_samples
        figures["samples"] = figures["samples"] or vlm_samples
    return figures


def _bar(console: Console, name: str) -> Report:
    """A progress bar that is drawn while it is told how far things are; nothing where there is no terminal."""
    columns = (
        TextColumn(name),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(name, total=None)

    def report(done: int, due: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=due)
        if done >= due:
            bar.stop()

    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
