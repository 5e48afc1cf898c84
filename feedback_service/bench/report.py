"""What the benchmark prints: progress for people while it runs, then figures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

Say = Callable[[str], None]


def say(text: str) -> None:
    """Says what is being measured."""
    print(f"bench feedback: {text}", file=sys.stderr, flush=True)


def tables(report: dict[str, Any]) -> None:
    """Prints a table a part: every figure of its runs that is one number, and the coaches' answers."""
    console = Console()
    parts: dict[str, list[dict[str, Any]]] = {}
    for run in report["runs"]:
        parts.setdefault(run["part"], []).append(run)
    for part, runs in parts.items():
        names = [
            name for name in runs[0] if name != "part" and (_plain(runs[0][name]) or name.endswith("_p99"))
        ]
        table = Table(*names, title=part, title_justify="left")
        for run in runs:
            table.add_row(*(_cell(run.get(name)) for name in names))
        console.print(table)
    for name, value in report.items():
        if _plain(value):
            console.print(f"{name}: {_cell(value)}")


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " / ".join(map(_cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
