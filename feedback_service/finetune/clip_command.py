"""``codriver finetune clip``: checks the options, then goes on in the models' environment."""

from __future__ import annotations

import sys

from codriver.errors import CodriverError
from feedback_service.finetune.clip.options import from_arguments, parser

MODULE = "feedback_service.finetune.clip.command"


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0, 2 for bad input, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    try:
        from_arguments(arguments)
        from feedback_service.coach_environment import exec_module

        return exec_module(MODULE, argv)
    except CodriverError as error:
        print(f"codriver finetune clip: {error}", file=sys.stderr)
        return 2
