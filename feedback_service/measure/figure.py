"""CLIP's confusion matrix as a picture, grouped as the paper's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import LATERAL, LONGITUDINAL


def draw_confusion(counts: NDArray[np.int64], path: Path, title: str) -> None:
    """Draws a 30 x 30 confusion matrix: one block a pair of longitudinal classes, each row's sum 1.

    Args:
        counts: (30, 30) rows by label (down) and answer (across).
        path: PNG file to write.
        title: Above it.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    total = counts.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, counts / np.maximum(total, 1), np.nan)
    figure, axes = pyplot.subplots(figsize=(9.5, 8.5), layout="constrained")
    colours = pyplot.get_cmap("Blues").with_extremes(bad="0.93")
    image = axes.imshow(shares, cmap=colours, vmin=0, vmax=1)
    step = len(LATERAL)
    for edge in range(step, len(shares), step):
        axes.axhline(edge - 0.5, color="0.4", linewidth=0.8)
        axes.axvline(edge - 0.5, color="0.4", linewidth=0.8)
    short = [name.replace("turning ", "").replace("going ", "") for name in LATERAL] * len(LONGITUDINAL)
    axes.set_xticks(range(len(short)), short, rotation=90, fontsize=7)
    axes.set_yticks(
        range(len(short)),
        [f"{name} ({rows:,})" for name, rows in zip(short, total[:, 0].tolist())],
        fontsize=7,
    )
    for number, name in enumerate(LONGITUDINAL):
        middle = number * step + (step - 1) / 2
        axes.text(-7.6, middle, name, rotation=90, ha="center", va="center", fontsize=8)
        axes.text(middle, -1.2, name, ha="center", va="center", fontsize=8)
    for row, column in np.argwhere(np.nan_to_num(shares) >= 0.1):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{shares[row, column]:.2f}"[1:] if shares[row, column] < 0.995 else "1",
                  ha="center", va="center", fontsize=5.5, color=colour)  # fmt: skip
    axes.set(xlabel="CLIP's answer", title=title + "\n")
    figure.colorbar(image, shrink=0.6, label="share of the expert's action (rows; grey: does not occur)")
    figure.supylabel("action of the expert (rows)", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
