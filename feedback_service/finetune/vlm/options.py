"""Options of ``codriver finetune vlm``. No heavy imports: the light command shows this help too."""

from __future__ import annotations

import argparse
from pathlib import Path

from codriver.errors import InvalidArgumentError

SMALL = "small"
_RATE_SMALL, _RATE_CHECKPOINT = 1.5e-3, 1e-5


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    p = argparse.ArgumentParser(
        prog="codriver finetune vlm",
        description="Teaches a vision-language model to answer as the expert drives, in the paper's prompt and JSON.",
        epilog="example: codriver finetune vlm --data data/expert --out runs/vlm --minutes 60",
    )
    p.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="datasets with pictures and the expert's actions (codriver collect)",
    )
    p.add_argument(
        "--out", type=Path, metavar="DIR", help="where the run is kept; the checkpoint is DIR/model"
    )
    p.add_argument(
        "--model",
        default=SMALL,
        metavar="small|DIR",
        help="small: 2.6 million parameters, from scratch; DIR: any image-text-to-text checkpoint of transformers",
    )
    p.add_argument("--minutes", type=float, default=60.0, help="length of the training (default 60)")
    p.add_argument(
        "--steps", type=int, default=0, help="end after so many steps, if that is earlier (default: no limit)"
    )
    p.add_argument("--batch", type=int, default=32, help="rows a step (default 32)")
    p.add_argument("--rate", type=float, help="peak learning rate (small 1.5e-3, else 1e-5)")
    p.add_argument(
        "--balance",
        type=float,
        default=0.6,
        help="0: rows as they were driven; 1: classes of driving alike often (default 0.6)",
    )
    p.add_argument(
        "--validate", type=Path, metavar="DIR", help="a dataset to measure the result on, never trained on"
    )
    p.add_argument("--validate-rows", type=int, default=1500, help="about so many of its rows (default 1500)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1, help="processor threads (default 1)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    p.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="auto: bf16 where the hardware has it; weights stay fp32",
    )
    p.add_argument("--resume", action="store_true", help="continue an interrupted run")
    p.add_argument("--name", default="", help="name in the model's card (default: the name of DIR)")
    p.add_argument(
        "--export-conversations",
        type=Path,
        metavar="DIR",
        help="write the data as conversations with PNG files, as LLaMA-Factory reads them, and end",
    )
    p.add_argument("--every", type=int, default=1, help="use every n-th row (default 1)")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    return p


def check(arguments: argparse.Namespace) -> None:
    """Fills in what depends on the model, and checks.

    Raises:
        InvalidArgumentError: A value is missing or out of range.
    """
    if not arguments.data:
        raise InvalidArgumentError("--data is missing", hint="Collect some with: codriver collect")
    if arguments.out is None and arguments.export_conversations is None:
        raise InvalidArgumentError("--out is missing")
    if arguments.model != SMALL and not Path(arguments.model).is_dir():
        raise InvalidArgumentError(
            f"--model {arguments.model} is neither 'small' nor a directory",
            hint="Nothing is downloaded: fetch the checkpoint first and name its directory.",
        )
    if arguments.rate is None:
        arguments.rate = _RATE_SMALL if arguments.model == SMALL else _RATE_CHECKPOINT
    for name, least in (("minutes", 0), ("rate", 0)):
        if not getattr(arguments, name) > least:
            raise InvalidArgumentError(f"--{name} must be more than {least}")
    for name, least in (
        ("batch", 1),
        ("threads", 1),
        ("every", 1),
        ("validate_rows", 1),
        ("steps", 0),
        ("seed", 0),
    ):
        if getattr(arguments, name) < least:
            raise InvalidArgumentError(f"--{name.replace('_', '-')} must be at least {least}")
    if not 0 <= arguments.balance <= 1:
        raise InvalidArgumentError("--balance must be 0 to 1")
