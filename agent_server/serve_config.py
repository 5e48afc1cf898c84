"""Settings of ``codriver serve``: command line over file over defaults."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent_server.limits import Limits
from agent_server.server import Options
from codriver.coaching.source import FeedbackSource
from codriver.errors import InvalidArgumentError
from codriver.serving.config_file import read_config
from codriver.serving.protection import IN_FILES, add_protection_options, protection_of

SHIPPED_POLICY = Path(__file__).parent / "policies" / "shipped"
"""What is served when nothing else is named."""

MAX_DELAY_MS = 10_000.0

EPILOG = """\
example:
  codriver serve --policy models/town_bc --listen 127.0.0.1:50051 --listen unix:/tmp/codriver.sock

The file of --config is TOML with the names of the options, and a table [limits]:
  policy = ["models/town_bc"]
  listen = ["127.0.0.1:50051"]
  batch_cap = 16
  [limits]
  max_sessions = 64
"""


@dataclass(frozen=True)
class Settings:
    """What ``codriver serve`` does.

    Attributes:
        policies: Policy directories; the first is the default.
        options: The server's options.
        ready_file: File that is written when the server is ready; None: none.
        verbose: True: log more.
    """

    policies: tuple[str, ...]
    options: Options
    ready_file: Path | None = None
    verbose: bool = False


_FEEDBACK = ("feedback", "feedback_tls_ca", "feedback_token", "feedback_tls_cert", "feedback_tls_key")
_VALUES = (
    "policy",
    "listen",
    "admin_listen",
    "model",
    "runtime",
    "threads",
    "batch_cap",
    "max_delay_ms",
    "drain_grace_s",
)


def parser() -> argparse.ArgumentParser:
    """The options of ``codriver serve``."""
    p = argparse.ArgumentParser(
        prog="codriver serve",
        description="Serves driving policies over gRPC.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "--policy",
        action="append",
        metavar="PATH",
        help="policy directory; repeat it for more (default: the shipped one)",
    )
    p.add_argument(
        "--listen", action="append", metavar="ADDR", help="HOST:PORT or unix:PATH; repeat it for more"
    )
    p.add_argument("--config", type=Path, metavar="FILE", help="TOML file with any of these options")
    p.add_argument("--admin-listen", metavar="ADDR", help="serve PolicyAdminService there")
    p.add_argument("--model", choices=("process", "thread"), help="where the model runs (default: process)")
    p.add_argument(
        "--runtime", choices=("torch-fp32", "torch-bf16"), help="how policies run (default: torch-fp32)"
    )
    p.add_argument("--model-cores", metavar="N,...", help="keep the model's thread on these processor cores")
    p.add_argument("--threads", type=int, metavar="N", help="threads of the model (default: cores - 1)")
    p.add_argument("--batch-cap", type=int, metavar="N", help="most rows in a forward pass (default: 16)")
    p.add_argument(
        "--max-delay-ms", type=float, metavar="X", help="longest wait for a fuller pass (default: 0)"
    )
    p.add_argument(
        "--drain-grace-s", type=float, metavar="S", help="time that clients get to leave (default: 5)"
    )
    p.add_argument("--reflection", action="store_true", default=None, help="serve gRPC reflection")
    p.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write the addresses there as JSON, when ready"
    )
    p.add_argument("--verbose", action="store_true", help="log sessions and policies")
    group = p.add_argument_group("feedback")
    group.add_argument(
        "--feedback", metavar="ADDR", help="feedback service, which asks coaches about marked rows"
    )
    group.add_argument(
        "--feedback-tls-ca", metavar="FILE", help="it speaks TLS, certified by these roots (PEM)"
    )
    group.add_argument("--feedback-token", metavar="FILE", help="file with the bearer token that it wants")
    group.add_argument(
        "--feedback-tls-cert", metavar="FILE", help="our own certificate (PEM), where it wants one"
    )
    group.add_argument("--feedback-tls-key", metavar="FILE", help="private key of that certificate (PEM)")
    add_protection_options(p)
    return p


def settings(argv: list[str]) -> Settings:
    """Reads command line and file.

    Raises:
        InvalidArgumentError: Something is wrong; the message is one line.
    """
    args = parser().parse_args(argv)
    given: dict[str, Any] = {} if args.config is None else _read(args.config)
    if args.model_cores is not None:
        given["model_cores"] = _cores(args.model_cores)
    for name in _VALUES:
        if getattr(args, name) is not None:
            given[name] = getattr(args, name)
    if args.reflection:
        given["reflection"] = True
    given["protection"] = protection_of(given, args)
    for name in IN_FILES:
        given.pop(name, None)
    given["feedback"] = _feedback(given, args)
    limits = given.pop("limits", {})
    if "drain_grace_s" in given:
        limits["drain_grace_s"] = given.pop("drain_grace_s")
    policies = tuple(given.pop("policy", ()))
    if not policies and not (SHIPPED_POLICY / "card.json").is_file():
        raise InvalidArgumentError(
            "no policy to serve", field="policy", hint="Add --policy PATH, a directory with card.json."
        )
    policies = policies or (str(SHIPPED_POLICY),)
    given.setdefault("model", "process")
    given.setdefault("threads", max(1, len(os.sched_getaffinity(0)) - 1))
    if "listen" in given:
        given["listen"] = tuple(given["listen"])
    for name in ("threads", "batch_cap"):
        if given.get(name, 1) < 1:
            raise InvalidArgumentError(f"{name} is {given[name]}; it must be at least 1", field=name)
    if not 0 <= given.get("max_delay_ms", 0) <= MAX_DELAY_MS:
        raise InvalidArgumentError(f"max_delay_ms must be from 0 to {MAX_DELAY_MS:g}", field="max_delay_ms")
    try:
        options = replace(Options(), **given, limits=replace(Limits(), **limits))
    except ValueError as error:
        raise InvalidArgumentError(str(error), field="limits") from None
    return Settings(policies, options, args.ready_file, args.verbose)


def _feedback(given: dict[str, Any], args: argparse.Namespace) -> FeedbackSource | None:
    """The feedback service that file and command line name; takes the options out of the file's."""
    chosen = {}
    for name in _FEEDBACK:
        value, of_file = getattr(args, name), given.pop(name, None)
        chosen[name] = of_file if value is None else value
    address, *files = (chosen[name] or None for name in _FEEDBACK)
    if address is None:
        for name in _FEEDBACK:
            if chosen[name]:
                raise InvalidArgumentError(f"{name} is set, and no feedback service", field="feedback")
        return None
    source = FeedbackSource(address, *(None if file is None else Path(file) for file in files))
    source.check()
    return source


def _cores(text: str) -> tuple[int, ...]:
    there = os.sched_getaffinity(0) | set(range(os.cpu_count() or 1))
    if not all(part.isdigit() and int(part) in there for part in text.split(",")):
        raise InvalidArgumentError(
            f"{text!r} is no list of cores of this machine, like 0,1", field="model_cores"
        )
    return tuple(int(part) for part in text.split(","))


def _read(path: Path) -> dict[str, Any]:
    known = vars(Options()) | {
        "policy": (),
        "drain_grace_s": 0.0,
        "limits": vars(Limits()),
        "admin_listen": "",
        "threads": 1,
        **dict.fromkeys(_FEEDBACK, ""),
        **IN_FILES,
    }
    known.pop("protection")
    return read_config(path, known)
