"""The part of ``codriver finetune vlm`` that runs in the models' environment."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from codriver.dataset import read_manifest
from codriver.errors import CodriverError, InvalidArgumentError
from feedback_service.finetune.vlm.encoding import Encoder
from feedback_service.finetune.vlm.export import export_conversations
from feedback_service.finetune.vlm.loss import AnswerLoss
from feedback_service.finetune.vlm.options import SMALL, check, parser
from feedback_service.finetune.vlm.plot import plot
from feedback_service.finetune.vlm.rows import DriveRows, load_rows
from feedback_service.finetune.vlm.sampling import BalancedSampler
from feedback_service.finetune.vlm.small import build_small
from feedback_service.finetune.vlm.trainer import Trainer
from feedback_service.finetune.vlm.words import knows_words
from feedback_service.measure.vlm import measure_vlm
from feedback_service.models import torchvision_shim
from feedback_service.models.device import choose_device, fast_bf16
from feedback_service.models.vlm.loading import CheckpointError, load_checkpoint

MODEL, STATE, LOG, REPORT, PLOT = "model", "state", "log.jsonl", "report.json", "training.png"
CARD_FORMAT = "codriver-vlm/1"
_LOG_EVERY, _SAVE_EVERY_S = 50, 180.0


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0, 2 for bad input, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        check(arguments)
        if arguments.export_conversations is not None:
            report = export_conversations(_load(arguments, console), arguments.export_conversations)
        else:
            report = train(arguments, console)
    except (CodriverError, CheckpointError, OSError) as error:
        print(f"codriver finetune vlm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("codriver finetune vlm: interrupted; continue with --resume", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(report))
    return 0


def train(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Trains, measures, and writes checkpoint, card, log, plot and report.

    Raises:
        CodriverError: Data or options are not usable.
        CheckpointError: The checkpoint to start from is not.
    """
    out: Path = arguments.out
    if (out / LOG).exists() and not arguments.resume:
        raise InvalidArgumentError(f"{out} holds a run already", hint="Add --resume or choose another --out")
    torchvision_shim.install()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    device = choose_device(arguments.device)
    bf16 = arguments.precision == "bf16" or (arguments.precision == "auto" and fast_bf16(device))
    rows = _load(arguments, console)
    if arguments.model == SMALL:
        model, processor = build_small(arguments.seed)
    else:
        model, processor = load_checkpoint(Path(arguments.model), torch.float32)
    model.to(device)
    out.mkdir(parents=True, exist_ok=True)
    sampler = BalancedSampler(rows, arguments.balance, arguments.seed)
    words = knows_words(processor.tokenizer)
    loss = AnswerLoss(processor.tokenizer, *sampler.shares()).to(device) if words else None
    trainer = Trainer(model, arguments.rate, loss, bf16)
    before_s = 0.0
    if arguments.resume and (out / STATE / "state.json").exists():
        before_s = float(trainer.load(out / STATE)["seconds"])
        sampler.skip(trainer.steps * arguments.batch)
    parameters = sum(value.numel() for value in model.parameters())
    console.print(
        f"{parameters:,} parameters, {len(rows):,} rows, {device}, {'bf16' if bf16 else 'fp32'}"
        + (f"; resumed at step {trainer.steps:,}" if before_s else ""),
        highlight=False,
    )
    begin = time.monotonic() - before_s
    try:
        _steps(arguments, console, rows, sampler, Encoder(processor), trainer, begin)
    finally:  # when it is interrupted, too
        seconds = time.monotonic() - begin
        trainer.save(out / STATE, {"seconds": seconds})
    trainer.take_average()
    model.to(torch.bfloat16).save_pretrained(out / MODEL)
    processor.save_pretrained(out / MODEL)
    return _report(arguments, trainer, parameters, len(rows), seconds)


def _load(arguments: argparse.Namespace, console: Console) -> DriveRows:
    with console.status("reading rows"):
        rows = load_rows(arguments.data)
    return rows.take(np.arange(0, len(rows), arguments.every))


def _steps(
    arguments: argparse.Namespace,
    console: Console,
    rows: DriveRows,
    sampler: BalancedSampler,
    encoder: Encoder,
    trainer: Trainer,
    begin: float,
) -> None:
    """Trains until time, counted from `begin`, or steps are used up."""
    out: Path = arguments.out
    saved, recent = time.monotonic(), []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, (out / LOG).open("a", encoding="utf-8") as log:
        bar = progress.add_task("training", total=1.0)
        while True:
            share = (time.monotonic() - begin) / (arguments.minutes * 60)
            if arguments.steps:
                share = max(share, trainer.steps / arguments.steps)
            if share >= 1:
                break
            inputs, labels = encoder.batch(rows, sampler.draw(arguments.batch))
            recent.append(trainer.step(inputs, labels, share))
            if trainer.steps % _LOG_EVERY == 0:
                means = {name: round(float(np.mean([p[name] for p in recent])), 4) for name in recent[0]}
                entry = {"step": trainer.steps, "seconds": round(time.monotonic() - begin, 1), **means}
                log.write(json.dumps(entry) + "\n")
                log.flush()
                recent = []
                progress.update(bar, description=f"step {trainer.steps}, loss {means['loss']:.3f}")
            progress.update(bar, completed=share)
            if time.monotonic() - saved > _SAVE_EVERY_S:
                trainer.save(out / STATE, {"seconds": time.monotonic() - begin})
                saved = time.monotonic()


def _report(
    arguments: argparse.Namespace, trainer: Trainer, parameters: int, rows: int, seconds: float
) -> dict[str, Any]:
    out: Path = arguments.out
    report: dict[str, Any] = {
        "format": CARD_FORMAT,
        "name": arguments.name or out.resolve().name,
        "family": trainer.model.config.model_type,
        "parameters": parameters,
        "training": {
            "model": "small" if arguments.model == SMALL else Path(arguments.model).name,
            "data": [_origin(directory) for directory in arguments.data],
            "rows": rows,
            "steps": trainer.steps,
            "samples": trainer.steps * arguments.batch,
            "minutes": round(seconds / 60, 1),
            "threads": arguments.threads,
            "batch": arguments.batch,
            "rate": arguments.rate,
            "balance": arguments.balance,
            "seed": arguments.seed,
            "torch": torch.__version__,
            "transformers": version("transformers"),
            "python": platform.python_version(),
        },
    }
    if arguments.validate is not None:
        measured = measure_vlm(
            out / MODEL, arguments.validate, limit=arguments.validate_rows, threads=arguments.threads
        )
        report["measured"] = {"data": _origin(arguments.validate), **measured}
    for path in (out / MODEL / "card.json", out / REPORT):
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    lines = (out / LOG).read_text(encoding="utf-8").splitlines()
    plot([json.loads(line) for line in lines], out / PLOT)
    return report


def _origin(directory: Path) -> dict[str, Any]:
    """What a dataset is, in a few words: its folder, towns and seeds."""
    manifest = read_manifest(directory)
    towns = sorted({str(entry.get("town")) for entry in manifest.provenance if entry.get("town")})
    return {"name": directory.resolve().name, "rows": manifest.rows, "towns": towns}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
