"""Options of ``codriver finetune clip``. No heavy imports: the light command shows this help too."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from codriver.errors import InvalidArgumentError

SMALL = "small"
LOSSES = ("anchors", "contrastive")

_FROM_SCRATCH: dict[str, Any] = {
    "loss": "anchors",
    "batch": 64,
    "lr": 1.5e-3,
    "weight_decay": 0.05,
    "warmup": 300,
    "image_size": 96,
    "epochs": 4.0,
    "mirror": 0.0,
    "average": 0.999,
}
_FROM_CHECKPOINT: dict[str, Any] = {
    "loss": "contrastive",
    "batch": 1024,
    "lr": 1e-5,
    "weight_decay": 0.2,
    "warmup": 2000,
    "image_size": 192,
    "epochs": 10.0,
    "mirror": 0.0,
    "average": 0.0,
}
"""Found-RL's published fine-tuning of ViT-B-16 from laion2b_s34b_b88k."""
BETAS, EPS, CLIP_NORM = (0.9, 0.98), 1e-6, 1.0
"""Of AdamW and of the gradient, in both."""


@dataclass(frozen=True)
class Options:
    """A training run; see :func:`parser` for what each means."""

    data: tuple[Path, ...]
    out: Path
    model: str
    weights: Path | None
    loss: str
    batch: int
    lr: float
    weight_decay: float
    warmup: int
    image_size: int
    epochs: float
    minutes: float
    mirror: float
    shift: int
    balance: float
    smoothing: float
    average: float
    held_out: float
    every: int
    validate: tuple[Path, ...]
    report_every: int
    seed: int
    threads: int
    device: str
    precision: str
    resume: bool
    name: str
    export_webdataset: Path | None


def parser() -> argparse.ArgumentParser:
    """The parser; an option that is not given is None where the default depends on the model."""
    p = argparse.ArgumentParser(
        prog="codriver finetune clip",
        description="Trains a CLIP to say which of the 30 actions of a context the expert takes, on recorded drives.",
        epilog="example: codriver finetune clip --data data/expert --out runs/clip --minutes 40. An open_clip model, "
        "as ViT-B-16, starts from its published weights (--weights) with the paper's settings, and wants a GPU.",
    )
    p.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="datasets with pictures, or folders of webdataset shards",
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="where the run is kept; the model is DIR/model")
    p.add_argument(
        "--model",
        default=SMALL,
        metavar="NAME",
        help="small, or an open_clip model such as ViT-B-16 (default: small)",
    )
    p.add_argument(
        "--weights", type=Path, metavar="FILE", help="safetensors file of open_clip weights to start from"
    )
    p.add_argument(
        "--loss",
        choices=LOSSES,
        help="anchors: over the 30 of the context (default of small); contrastive: the paper's, over the batch",
    )
    p.add_argument("--batch", type=int, help="pictures a step (small 64, else 1024)")
    p.add_argument("--lr", type=float, help="peak learning rate (small 1.5e-3, else 1e-5)")
    p.add_argument("--weight-decay", type=float, help="of matrices (small 0.05, else 0.2)")
    p.add_argument("--warmup", type=int, help="steps to the peak learning rate (small 300, else 2000)")
    p.add_argument("--image-size", type=int, help="pixels the picture is resized to (small 96, else 192)")
    p.add_argument("--epochs", type=float, help="passes over the data (small 4, else 10)")
    p.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        help="end after so many minutes of training, on the same schedule (default: no limit)",
    )
    p.add_argument(
        "--mirror",
        type=float,
        help="share of pictures that is mirrored, left and right exchanged (default 0)",
    )
    p.add_argument("--shift", type=int, default=0, help="shift pictures by up to so many pixels (default 0)")
    p.add_argument(
        "--balance",
        type=float,
        default=0.2,
        help="0: rows as they come; 1: all labels of a context alike often (default 0.2)",
    )
    p.add_argument(
        "--smoothing", type=float, default=0.0, help="label smoothing of the anchors loss (default 0)"
    )
    p.add_argument("--average", type=float, help="moving average of the weights (small 0.999, else none: 0)")
    p.add_argument(
        "--held-out", type=float, default=0.03, help="share of the episodes to validate on (default 0.03)"
    )
    p.add_argument("--every", type=int, default=1, help="use every n-th row (default 1)")
    p.add_argument(
        "--validate",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="further datasets to validate on, never trained on",
    )
    p.add_argument(
        "--report-every", type=int, default=50_000, help="pictures between validations (default 50000)"
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1, help="processor threads (default 1)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    p.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="auto: bf16 where the hardware has it",
    )
    p.add_argument("--resume", action="store_true", help="continue an interrupted run")
    p.add_argument("--name", default="", help="name in the model's card (default: the name of DIR)")
    p.add_argument(
        "--export-webdataset",
        type=Path,
        metavar="DIR",
        help="write the data as webdataset shards for open_clip's own trainer, and end",
    )
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    return p


def from_arguments(arguments: argparse.Namespace) -> Options:
    """Fills in what depends on the model, and checks.

    Raises:
        InvalidArgumentError: A value is out of range, or two do not go together.
    """
    if not arguments.data:
        raise InvalidArgumentError("--data is missing", hint="Collect some with: codriver collect")
    if arguments.out is None and arguments.export_webdataset is None:
        raise InvalidArgumentError("--out is missing")
    if arguments.model == SMALL and arguments.weights is not None:
        raise InvalidArgumentError(
            "--weights goes with an open_clip model", hint="Add --model, as --model ViT-B-16."
        )
    if arguments.model != SMALL and arguments.weights is None and not arguments.export_webdataset:
        raise InvalidArgumentError(
            f"{arguments.model} from scratch needs far more than drives",
            hint="Start from published weights: --weights open_clip_model.safetensors",
        )
    defaults = _FROM_SCRATCH if arguments.model == SMALL else _FROM_CHECKPOINT
    values = {item.name: getattr(arguments, item.name) for item in fields(Options)}
    values.update({name: value for name, value in defaults.items() if values[name] is None})
    values["data"], values["validate"] = tuple(arguments.data), tuple(arguments.validate)
    values["out"] = arguments.out or arguments.export_webdataset
    values["name"] = arguments.name or values["out"].resolve().name
    options = Options(**values)
    _check(options)
    return options


def _check(options: Options) -> None:
    ranges = {
        "batch": (2, 65536),
        "lr": (0, 1),
        "warmup": (0, 10**6),
        "image_size": (32, 1024),
        "epochs": (0, 10**4),
        "minutes": (0, 10**6),
        "mirror": (0, 1),
        "shift": (0, 64),
        "balance": (0, 1),
        "smoothing": (0, 0.99),
        "average": (0, 0.99999),
        "held_out": (0, 0.9),
        "every": (1, 10**4),
        "report_every": (1, 10**9),
        "threads": (1, 1024),
    }
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise InvalidArgumentError(f"--{name.replace('_', '-')} is {value}; expected {low} to {high}")
    if options.model == SMALL and options.image_size % 32:
        raise InvalidArgumentError(
            f"--image-size is {options.image_size}; the small model takes multiples of 32"
        )
