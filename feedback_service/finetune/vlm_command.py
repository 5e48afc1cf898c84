"""``codriver finetune vlm``: checks the options, then goes on in the models' environment."""

from __future__ import annotations

import sys

from codriver.errors import CodriverError
from feedback_service.finetune.vlm.options import check, parser

MODULE = "feedback_service.finetune.vlm.command"


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0, 2 for bad input, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    try:
        check(arguments)
        from feedback_service.coach_environment import exec_module

        return exec_module(MODULE, argv)
    except CodriverError as error:
        print(f"codriver finetune vlm: {error}", file=sys.stderr)
        return 2
