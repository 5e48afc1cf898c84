"""Figures of the coaches' models as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """One table for each model that was measured, then one of classes."""
    made = []
    if figures.get("clip_top1") is not None:
        made += [_clip(figures), _classes("CLIP: found, by class", figures["clip_classes"])]
    if figures.get("vlm_parse_rate") is not None:
        made.append(_vlm(figures))
    return made


def _clip(figures: Mapping[str, Any]) -> Table:
    table = Table(title=f"CLIP, {figures['samples']:,} pictures of {figures['data']}", title_justify="left")
    for name in ("", "one of 30 right", "neighbours right", "left for right"):
        table.add_column(name, justify="right" if name else "left")
    rows = (
        (figures["clip_model"]["name"], "clip_top1", "clip_top1_neighbours", "clip_left_right_confusion"),
        (
            "expert that knows the speed's bin",
            "clip_oracle_top1",
            "clip_oracle_neighbours",
            "clip_oracle_left_right_confusion",
        ),
        ("commonest of each context", "clip_context_majority_top1", "clip_context_majority_neighbours", ""),
        ("commonest of all", "clip_majority", "", ""),
    )
    for title, *keys in rows:
        table.add_row(title, *(_percent(figures.get(key)) for key in keys))
    oracle = figures.get("clip_oracle_neighbours")
    if oracle:
        table.caption = f"neighbours: {figures['clip_top1_neighbours'] / oracle:.1%} of what the expert gets"
    return table


def _classes(title: str, classes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("class", "rows", "found"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for part in classes.values():
        for name, entry in part.items():
            table.add_row(name, f"{entry['rows']:,}", _percent(entry["recall"]))
        table.add_section()
    return table


def _vlm(figures: Mapping[str, Any]) -> Table:
    count = figures.get("vlm_samples") or 0
    table = Table(title=f"VLM, {count:,} pictures of {figures['data']}", title_justify="left")
    table.add_column("")
    table.add_column("share", justify="right")
    for title, key in (
        ("answers that can be read", "vlm_parse_rate"),
        ("longitudinal classes found, mean", "vlm_longitudinal_recall"),
        ("lateral classes found, mean", "vlm_lateral_recall"),
        ("always the commonest class", "vlm_majority"),
    ):
        table.add_row(title, _percent(figures.get(key)))
    return table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
