"""``codriver evaluate-models``: how well the coaches' models answer on drives that none of them was trained on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codriver.dataset import read_manifest
from codriver.errors import CodriverError, InvalidArgumentError

MODULE = "feedback_service.measure.models"
SHIPPED = Path(__file__).resolve().parents[1] / "shipped"
HELD_OUT = Path("data/held-out-birch")
COLLECT = "codriver collect --out {} --town birch --seed 600 --episodes 14 --speed-bin-oracle"
MODELS = ("clip", "vlm")


def parser() -> argparse.ArgumentParser:
    """The parser."""
    p = argparse.ArgumentParser(
        prog="codriver evaluate-models",
        description="Asks the coaches' models about recorded drives and compares their answers with the expert's "
        "actions. Beside them: always answering the commonest action, and what can be known at best where the speed "
        "is known only as one of four bins, as CLIP knows it.",
        epilog="example: codriver evaluate-models --json\n\nThe default data is made by: "
        + COLLECT.format(HELD_OUT),
    )
    p.add_argument(
        "--data",
        type=Path,
        default=HELD_OUT,
        metavar="DIR",
        help=f"recorded drives with pictures (default: {HELD_OUT})",
    )
    p.add_argument(
        "--clip",
        type=Path,
        default=SHIPPED / "clip-small",
        metavar="DIR",
        help="a CLIP directory (default: the shipped one)",
    )
    p.add_argument(
        "--vlm",
        type=Path,
        default=SHIPPED / "vlm-small",
        metavar="DIR",
        help="a checkpoint directory of a vision-language model (default: the shipped one)",
    )
    p.add_argument("--only", choices=MODELS, help="measure this model alone")
    p.add_argument(
        "--samples",
        type=int,
        default=0,
        metavar="N",
        help="pictures that CLIP is asked about, evenly spaced (default: all)",
    )
    p.add_argument(
        "--vlm-samples",
        type=int,
        default=1500,
        metavar="N",
        help="about how many pictures the vision-language model is asked about; 0: all (default: 1500)",
    )
    p.add_argument(
        "--figure", type=Path, metavar="PNG", help="draw CLIP's confusion matrix (needs matplotlib)"
    )
    p.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads (default: 1)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda; of CLIP (default: auto)")
    p.add_argument("--json", action="store_true", help="print the figures as JSON")
    return p


def check(arguments: argparse.Namespace) -> None:
    """Checks the arguments, and that the data is there.

    Raises:
        CodriverError: They are not usable; the message says what to do.
    """
    for name, low in (("samples", 0), ("vlm_samples", 0), ("threads", 1)):
        if getattr(arguments, name) < low:
            raise InvalidArgumentError(
                f"--{name.replace('_', '-')} is {getattr(arguments, name)}; at least {low}"
            )
    if not arguments.data.is_dir():
        raise InvalidArgumentError(
            f"there are no drives in {arguments.data}",
            hint=f"Record some with: {COLLECT.format(arguments.data)}",
        )
    read_manifest(arguments.data)
    for name in MODELS:
        directory = getattr(arguments, name)
        if arguments.only in (None, name) and not directory.is_dir():
            raise InvalidArgumentError(f"there is no model in {directory}")


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0, 2 for bad input, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    try:
        check(arguments)
        from feedback_service.coach_environment import exec_module

        return exec_module(MODULE, argv)
    except CodriverError as error:
        print(f"codriver evaluate-models: {error}", file=sys.stderr)
        return 2
