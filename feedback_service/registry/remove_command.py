"""``codriver models remove``: forget a model of the store; its directory stays."""

from __future__ import annotations

import argparse
import sys

from codriver.errors import CodriverError
from feedback_service.registry.models_client import add_store_options, open_models
from feedback_service.registry.show import fail


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver models remove",
        description="Forgets a model that no coach uses. Its directory stays where it is; only a directory that "
        "`models add --open-clip` made goes with it.",
        epilog="example: codriver models remove internvl3-1b",
    )
    parser.add_argument("name", metavar="NAME", help="name of the model in the store")
    add_store_options(parser)
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb; 2 when the model stays."""
    arguments = parser().parse_args(argv)
    try:
        with open_models(arguments) as models:
            models.remove(arguments.name)
    except CodriverError as error:
        return fail("models remove", error)
    print(f"{arguments.name} is no longer in the store")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
