"""The course of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def plot(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws loss and agreement over the pictures that were trained on.

    Args:
        history: Figures of each validation, as in ``log.jsonl``.
        path: PNG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    samples = [entry["samples"] / 1000 for entry in history]
    left.plot(samples, [entry["loss"] for entry in history], label="training")
    sets = [name for name, value in history[-1].items() if isinstance(value, dict)]
    for name in sets:
        left.plot(samples, [entry[name]["cross_entropy"] for entry in history], label=name)
        right.plot(samples, [entry[name]["top1"] for entry in history], label=f"{name}: top-1")
        right.plot(
            samples,
            [entry[name]["top1_neighbours"] for entry in history],
            "--",
            label=f"{name}: neighbours right",
        )
    left.set(xlabel="thousand pictures", ylabel="loss", ylim=(0, None))
    right.set(xlabel="thousand pictures", ylabel="share of rows", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
