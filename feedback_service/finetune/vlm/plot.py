"""The course of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NOT_LOSSES = ("step", "seconds")


def plot(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws the loss and its parts over the steps.

    Args:
        history: The lines of ``log.jsonl``.
        path: PNG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    steps = [entry["step"] for entry in history]
    for name in history[-1] if history else ():
        if name not in _NOT_LOSSES:
            axes.plot(steps, [entry[name] for entry in history], label=name)
    axes.set(xlabel="steps", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    if history:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
