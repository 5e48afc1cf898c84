"""Builds the towns that ship with the package: ``python -m sim_clients.sumo.towns.build``.

Needs ``scenariogeneration`` (OpenDRIVE) and ``eclipse-sumo`` (netconvert); driving in the towns needs neither.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sim_clients.sumo.towns import extras, network, opendrive
from sim_clients.sumo.towns.layouts import LAYOUTS


def build(name: str, folder: Path) -> None:
    """Writes ``name.xodr``, ``name.net.xml.gz`` and ``name.json`` into a folder."""
    town = LAYOUTS[name]()
    xodr, net = folder / f"{name}.xodr", folder / f"{name}.net.xml.gz"
    opendrive.write(town, xodr)
    network.build(town, xodr, net)
    extras.write(town, net, folder / f"{name}.json")


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sim_clients.sumo.towns.build",
        description=__doc__,
        epilog="example: python -m sim_clients.sumo.towns.build alder --into /tmp",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("towns", nargs="*", help=f"towns to build (default: all of {', '.join(LAYOUTS)})")
    parser.add_argument(
        "--into", type=Path, default=Path(__file__).parent / "data", help="folder to write to"
    )
    arguments = parser.parse_args(argv)
    unknown = set(arguments.towns) - set(LAYOUTS)
    if unknown:
        parser.error(f"unknown town {', '.join(sorted(unknown))}; there are {', '.join(LAYOUTS)}")
    arguments.into.mkdir(parents=True, exist_ok=True)
    for name in arguments.towns or LAYOUTS:
        build(name, arguments.into)
        sys.stdout.write(f"{name} built\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
