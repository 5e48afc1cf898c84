"""``codriver models use``: let a model answer for a coach, without a restart and without a lost request."""

from __future__ import annotations

import argparse
import sys

from codriver.errors import CodriverError
from codriver.v1 import feedback_admin_service_pb2 as pb
from feedback_service.registry.inspect import KINDS
from feedback_service.registry.models_client import add_store_options, open_models
from feedback_service.registry.show import fail, status


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver models use",
        description="Loads a model beside the one that answers, warms it up, switches the coach to it, and unloads the "
        "old one when its requests are done. If anything fails, the old one goes on. Without a running service the "
        "choice is kept for the next start.",
        epilog="example: codriver models use internvl3-1b --coach vlm",
    )
    parser.add_argument("name", metavar="NAME", help="name of the model in the store")
    parser.add_argument(
        "--coach", default="", help="coach to switch (default: the only one of the model's kind)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=1800.0,
        metavar="S",
        help="longest wait for the switch, in seconds (default: %(default)g)",
    )
    add_store_options(parser)
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb; 2 when the coach was not switched."""
    arguments = parser().parse_args(argv)
    request = pb.UseModelRequest(coach=arguments.coach, name=arguments.name)
    try:
        with open_models(arguments) as models, status(f"loading {arguments.name}"):
            done, live = models.use(request, arguments.timeout), models.live
    except CodriverError as error:
        return fail("models use", error)
    model = f"{done.model.name} (version {done.model.version})"
    before = f" instead of {done.before.name}" if done.HasField("before") else ""
    if live:
        print(f"{done.coach}: {model} answers{before}; ready after {done.load_ms / 1e3:.1f} s")
    else:
        print(f"{done.coach}: {model}{before}")
        print("No feedback service runs on this store: it takes effect when one starts.", file=sys.stderr)
        if done.coach not in KINDS:
            names = " and ".join(sorted(KINDS))
            print(
                f"codriver models use: warning: by default a service has the coaches {names}, and no {done.coach!r}",
                file=sys.stderr,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
