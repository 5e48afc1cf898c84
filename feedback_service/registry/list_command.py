"""``codriver models list``: the models of the store, which coach uses which, and what went wrong."""

from __future__ import annotations

import argparse
import json
import sys

from codriver.errors import CodriverError
from feedback_service.registry.models_client import add_store_options, open_models
from feedback_service.registry.show import as_json, fail, print_table


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver models list",
        description="Lists the models of the store: those that are shipped and those that were added.",
        epilog="example: codriver models list --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_store_options(parser)
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb; 2 when neither a service nor the store can be read."""
    arguments = parser().parse_args(argv)
    try:
        with open_models(arguments) as models:
            found, live = models.list(), models.live
    except CodriverError as error:
        return fail("models list", error)
    if arguments.json:
        print(json.dumps({"service_running": live, "models": [as_json(model) for model in found]}, indent=1))
        return 0
    print_table(found)
    if not live:
        print("No feedback service runs on this store; `codriver feedback` starts one.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
