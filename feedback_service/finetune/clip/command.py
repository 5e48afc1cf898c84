"""The part of ``codriver finetune clip`` that runs in the models' environment."""

from __future__ import annotations

import json
import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from codriver.dataset import read_manifest
from codriver.errors import CodriverError, InvalidArgumentError
from feedback_service.finetune.clip.data import Pictures, load_pictures
from feedback_service.finetune.clip.options import Options, from_arguments, parser
from feedback_service.finetune.clip.plot import plot
from feedback_service.finetune.clip.shards import export, is_webdataset, load_shards
from feedback_service.finetune.clip.start import start
from feedback_service.finetune.clip.trainer import Trainer
from feedback_service.measure.clip_figures import agreement, context_majority, majority
from feedback_service.models.clip.network import save
from feedback_service.models.device import choose_device, fast_bf16

MODEL, LOG, REPORT = "model", "log.jsonl", "report.json"
VALIDATION_ROWS = 3000
"""Of each validation set, evenly spaced."""
_CHECKPOINT_S = 60.0


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0, 2 for bad input, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        options = from_arguments(arguments)
        torch.set_num_threads(options.threads)
        if options.export_webdataset is not None:
            report = export(_load(options, console), options.export_webdataset)
        else:
            report = train(options, console)
    except (CodriverError, OSError) as error:
        print(f"codriver finetune clip: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("codriver finetune clip: interrupted; continue with --resume", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(report))
    return 0


def train(options: Options, console: Console) -> dict[str, Any]:
    """Trains, and writes the model at every validation.

    Returns:
        The report, which is also ``report.json`` of the run.

    Raises:
        CodriverError: Data, weights or checkpoint are not usable.
    """
    if (options.out / LOG).exists() and not options.resume:
        raise InvalidArgumentError(
            f"{options.out} holds a run already", hint="Add --resume or choose another --out"
        )
    device = choose_device(options.device)
    bf16 = options.precision == "bf16" or (options.precision == "auto" and fast_bf16(device))
    pictures = _load(options, console)
    if pictures.held_out.all():
        raise InvalidArgumentError("every episode is held out", hint="Lower --held-out or add data")
    checks = _validation_sets(options, pictures)
    clip = start(options)
    trainer = Trainer(clip, pictures, options, device, bf16)
    options.out.mkdir(parents=True, exist_ok=True)
    resumed = options.resume and trainer.resume(options.out)
    console.print(
        f"{clip.parameters:,} parameters, {int((~pictures.held_out).sum()):,} pictures to train on, "
        f"{int(pictures.held_out.sum()):,} held out, {device}, {'bf16' if bf16 else 'fp32'}"
        + (f"; resumed at {trainer.samples:,} pictures" if resumed else ""),
        highlight=False,
    )
    report: dict[str, Any] = {}
    while trainer.progress < 1 or not trainer.history:
        loss = _stretch(trainer, console)
        figures = _measure(trainer, checks, loss)
        trainer.history.append(figures)
        with (options.out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(figures) + "\n")
        console.print(_line(figures), highlight=False)
        report = _write(trainer, options, pictures, checks)
    plot(trainer.history, options.out / "training.png")
    return report or _write(trainer, options, pictures, checks)


def _load(options: Options, console: Console) -> Pictures:
    kinds = {is_webdataset(path) for path in options.data}
    if kinds == {True}:
        return load_shards(options.data, options.held_out)
    if True in kinds:
        raise InvalidArgumentError("--data mixes datasets and webdataset shards")
    return load_pictures(
        options.data,
        held_out_share=options.held_out,
        every=options.every,
        note=lambda line: console.print(line, highlight=False),
    )


def _validation_sets(options: Options, pictures: Pictures) -> dict[str, Pictures]:
    """Rows to validate on, by name: the held-out episodes, and every dataset of --validate."""
    sets = {"held_out": pictures.take(np.flatnonzero(pictures.held_out))}
    sets |= {path.resolve().name: load_pictures([path]) for path in options.validate}
    return {
        name: rows.take(
            np.unique(np.linspace(0, len(rows) - 1, min(len(rows), VALIDATION_ROWS)).astype(np.int64))
        )
        for name, rows in sets.items()
        if len(rows)
    }


def _stretch(trainer: Trainer, console: Console) -> float:
    """Trains until the next validation under a progress bar; returns the mean loss."""
    columns = (
        TextColumn("{task.fields[samples]:,} pictures"),
        BarColumn(),
        TextColumn("{task.percentage:.1f} %  loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    losses: list[float] = []
    end, saved = trainer.samples + trainer.options.report_every, time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, samples=trainer.samples, loss=0.0)
        while trainer.samples < end and trainer.progress < 1:
            losses.append(trainer.step())
            bar.update(task, completed=trainer.progress, samples=trainer.samples, loss=losses[-1])
            if time.monotonic() - saved > _CHECKPOINT_S:
                trainer.save(trainer.options.out)
                saved = time.monotonic()
    return float(np.mean(losses)) if losses else 0.0


def _measure(trainer: Trainer, checks: dict[str, Pictures], loss: float) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "samples": trainer.samples,
        "seconds": round(trainer.seconds, 1),
        "pictures_per_s": round(trainer.samples / max(trainer.seconds, 1e-9), 1),
        "loss": round(loss, 5),
        "scale": round(trainer.clip.scale.item(), 2),
    }
    for name, rows in checks.items():
        probabilities = trainer.probabilities(rows)
        figures[name] = _rounded(agreement(probabilities.argmax(axis=1), rows.anchor))
        chosen = np.maximum(probabilities[np.arange(len(rows)), rows.anchor], 1e-9)
        figures[name]["cross_entropy"] = round(float(-np.log(chosen).mean()), 4)
    return figures


def _write(
    trainer: Trainer, options: Options, pictures: Pictures, checks: dict[str, Pictures]
) -> dict[str, Any]:
    """Writes checkpoint, model and report."""
    trainer.save(options.out)
    training = {
        "method": f"{options.loss} loss" + (f", from {options.weights.name}" if options.weights else ", from scratch"),
        "data": [_facts(path) for path in options.data],
        "pictures": int((~pictures.held_out).sum()),
        "samples": trainer.samples,
        "seconds": round(trainer.seconds, 1),
        "precision": "bf16" if trainer.bf16 else "fp32",
        "device": str(trainer.device),
        **{
            name: getattr(options, name)
            for name in (
                "batch", "lr", "weight_decay", "warmup", "mirror", "shift", "balance", "smoothing", "average",
                "every", "seed", "threads",
            )
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("codriver", "torch", "open_clip_torch")},
        },
    }  # fmt: skip
    last = trainer.history[-1]
    metrics = {name: last[name] for name in checks}
    card = replace(
        trainer.clip.card,
        facts={"parameters": trainer.clip.parameters, "training": training, "metrics": metrics},
    )
    save(options.out / MODEL, card, trainer.weights())
    report = {
        "model": str(options.out / MODEL),
        "parameters": trainer.clip.parameters,
        "training": training,
        "metrics": metrics,
        "baselines": {
            name: {
                "rows": len(rows),
                "majority": round(majority(rows.anchor), 4),
                "context_majority": _rounded(context_majority(rows.context, rows.anchor)),
            }
            for name, rows in checks.items()
        },
        "history": trainer.history,
    }
    (options.out / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _facts(path: Path) -> dict[str, Any]:
    if is_webdataset(path):
        return {"name": path.resolve().name, "form": "webdataset"}
    manifest = read_manifest(path)
    return {
        "name": path.resolve().name,
        "rows": manifest.rows,
        "episodes": len(manifest.episode_ids()),
        "provenance": manifest.provenance[:4],
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def _line(figures: dict[str, Any]) -> str:
    """One line a validation for people."""
    parts = [
        f"{figures['samples']:,} pictures, {figures['pictures_per_s']:.0f}/s, loss {figures['loss']:.4f}"
    ]
    parts += [
        f"{name}: top-1 {value['top1']:.3f}, neighbours {value['top1_neighbours']:.3f}, "
        f"left/right {value['left_right_confusion']:.1%}"
        for name, value in figures.items()
        if isinstance(value, dict)
    ]
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
