"""Command line arguments that several verbs share."""

from __future__ import annotations

import argparse
import math
import os


def add_town_arguments(parser: argparse.ArgumentParser, *, town: str) -> None:
    """Adds what says where, which way and among whom to drive, and in how many processes.

    Args:
        parser: Parser to add to.
        town: Which town is the default, for the help text.
    """
    parser.add_argument("--town", help=f"town to drive in (default: {town})")
    parser.add_argument(
        "--vehicles", type=natural, default=60, help="vehicles in town (default: %(default)s)"
    )
    parser.add_argument(
        "--walkers", type=natural, default=40, help="pedestrians in town (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, help="seed of routes and traffic (default: %(default)s)"
    )
    parser.add_argument(
        "--min-route-m",
        type=length,
        default=500.0,
        metavar="M",
        help="shortest route in metres (default: %(default)g)",
    )
    parser.add_argument(
        "--min-signals",
        type=natural,
        default=2,
        metavar="N",
        help="fewest signalised junctions of a route (default: %(default)s)",
    )
    parser.add_argument(
        "--envs",
        type=positive,
        default=min(8, os.cpu_count() or 1),
        help="simulator processes (default: one a core, at most 8; here %(default)s)",
    )


def natural(text: str) -> int:
    """Reads an integer of 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def positive(text: str) -> int:
    """Reads an integer of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def length(text: str) -> float:
    """Reads a finite number of 0 or more."""
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError("must be a finite number of 0 or more")
    return value


def fraction(text: str) -> float:
    """Reads a number from 0 to 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return value
