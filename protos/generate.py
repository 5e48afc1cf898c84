"""Generates the Python stubs of the contract: `make protos`; `--check` only tells whether they are stale.

Runs in an environment of its own with the oldest grpcio-tools that the client wheel supports, because stubs work
with the release that made them and with later ones, never with earlier ones.
"""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
STUBS = PROTOS.parent / "clients" / "python"
PACKAGE = Path("codriver", "v1")


def generate(out: Path) -> None:
    """Writes `_pb2.py`, `_pb2.pyi` and, for files with a service, `_pb2_grpc.py` below `out`.

    Raises:
        SystemExit: protoc found an error, which it has printed.
    """
    protos = sorted(PROTOS.joinpath(PACKAGE).glob("*.proto"))
    args = ["protoc", f"-I{PROTOS}", f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    if protoc.main([*args, *map(str, protos)]) != 0:
        raise SystemExit(1)
    for proto in protos:
        if "\nservice " not in proto.read_text():
            out.joinpath(PACKAGE, proto.stem + "_pb2_grpc.py").unlink()


def stubs(folder: Path) -> "set[str]":
    """Names of the generated files in a folder."""
    return {path.name for path in folder.glob("*_pb2*.py*")}


def main() -> int:
    """Generates, or compares with what is there.

    Returns:
        0, or 1 where `--check` found stale stubs.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where stubs are stale"
    )
    check = parser.parse_args().check
    have = STUBS / PACKAGE
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        want = Path(folder) / PACKAGE
        names = stubs(want) | stubs(have)
        _, differing, missing = filecmp.cmpfiles(want, have, names, shallow=False)
        stale = sorted(differing + missing)
        if check:
            if stale:
                print("stale stubs, run `make protos`:", *stale, file=sys.stderr)
            return 1 if stale else 0
        for name in stale:
            if want.joinpath(name).exists():
                have.joinpath(name).write_bytes(want.joinpath(name).read_bytes())
            else:
                have.joinpath(name).unlink()
    print(f"{len(stubs(have))} stubs, {len(stale)} of them new, changed or removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
