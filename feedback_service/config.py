"""Settings of ``codriver feedback``: command line over file over defaults."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import grpc

from codriver.connection import target
from codriver.errors import InvalidArgumentError
from codriver.serving.config_file import read_config
from codriver.serving.protection import IN_FILES, Protection, add_protection_options, protection_of
from codriver.serving.tls import channel_credentials, check_roots
from feedback_service.desk.settings import CoachSettings, Limits
from feedback_service.registry.inspect import KINDS
from feedback_service.registry.store import DEFAULT_DIRECTORY
from feedback_service.triton.repository import ModelOptions

EMBEDDED = "embedded"

EPILOG = """\
examples:
  codriver feedback                                  # a Triton of its own, with the shipped models
  codriver feedback --triton 10.0.0.7:8001           # its models vlm_action and clip_score, as they are
  codriver feedback --check --triton 10.0.0.7:8001   # what that one can do

The file of --config is TOML with the names of the options, and the tables [limits], [models], [vlm] and [clip]:
  coach = ["vlm=vlm", "clip=clip"]
  [clip]
  max_rows_per_call = 32
  [models]
  device = "cuda:0"
  [limits]
  max_pending_per_session = 512
"""

_VALUES = (
    "triton",
    "triton_ca",
    "listen",
    "admin_listen",
    "metrics_listen",
    "coach",
    "store",
    "repository",
    "threads",
)
_BY_KIND: dict[str, dict[str, int]] = {
    "vlm": {"max_calls_in_flight": 2, "max_rows_per_call": 16},
    "clip": {"max_calls_in_flight": 2, "max_rows_per_call": 32, "timeout_ms": 20_000},
}
"""What fits our own models: one call computes while the next one is on its way, in whole batches."""


@dataclass(frozen=True)
class CoachChoice:
    """One coach of the service.

    Attributes:
        settings: What the desk is told of it.
        model: Model of the store that it uses from now on, or the Triton model behind it where Triton is used as it
            is. Empty: what the store says, or the usual name.
    """

    settings: CoachSettings
    model: str = ""


@dataclass(frozen=True)
class Options:
    """How a service is set up.

    Attributes:
        triton: ``embedded``, or the gRPC address of a Triton.
        triton_ca: PEM file with the roots of that Triton's certificate; None: it is plain.
        coaches: Coaches, by unique names.
        listen: Addresses of FeedbackService.
        admin_listen: Address of FeedbackAdminService; None: it is not served.
        metrics_listen: ``HOST:PORT`` of the metrics; None: there are none.
        store: Directory of the store of models, and of the service's state.
        repository: Model repository of another Triton, where this service may write. None: its models are as they are.
        triton_cores: Cores of the embedded Triton. Empty: any.
        model_options: How models run that this service loads.
        protection: Who may call.
        limits: What is allowed.
    """

    triton: str = EMBEDDED
    triton_ca: Path | None = None
    coaches: tuple[CoachChoice, ...] = ()
    listen: tuple[str, ...] = ("127.0.0.1:50052",)
    admin_listen: str | None = "127.0.0.1:50053"
    metrics_listen: str | None = None
    store: Path = DEFAULT_DIRECTORY
    repository: Path | None = None
    triton_cores: tuple[int, ...] = ()
    model_options: ModelOptions = field(default_factory=ModelOptions)
    protection: Protection = Protection()  # noqa: RUF009 - immutable
    limits: Limits = field(default_factory=Limits)

    def triton_credentials(self) -> grpc.ChannelCredentials | None:
        """TLS to Triton; None: plain."""
        return None if self.triton_ca is None else channel_credentials(self.triton_ca)


@dataclass(frozen=True)
class Settings:
    """What ``codriver feedback`` does.

    Attributes:
        options: The service's options.
        check: True: look at Triton, report, and end.
        json: True: report as JSON.
        ready_file: File that is written when the service listens; None: none.
        verbose: True: log more.
    """

    options: Options
    check: bool = False
    json: bool = False
    ready_file: Path | None = None
    verbose: bool = False


def parser() -> argparse.ArgumentParser:
    """The options of ``codriver feedback``."""
    p = argparse.ArgumentParser(
        prog="codriver feedback",
        description="Asks coaches (vision-language models behind Triton) what they say of observations.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "--triton",
        metavar="ADDR",
        help="gRPC address of a Triton, or `embedded`: start one (default: embedded)",
    )
    p.add_argument("--triton-ca", metavar="FILE", help="TLS to that Triton: roots (PEM) of its certificate")
    p.add_argument(
        "--coach",
        action="append",
        metavar="NAME=KIND[:MODEL]",
        help="a coach, its kind (vlm or clip) and its model; repeat it for more (default: vlm=vlm and clip=clip)",
    )
    p.add_argument(
        "--listen", action="append", metavar="ADDR", help="HOST:PORT or unix:PATH (default: 127.0.0.1:50052)"
    )
    p.add_argument(
        "--admin-listen",
        metavar="ADDR",
        help="where `codriver models` finds the service (default: 127.0.0.1:50053; off: nowhere)",
    )
    p.add_argument("--metrics-listen", metavar="HOST:PORT", help="serve metrics to Prometheus there")
    p.add_argument(
        "--store", metavar="DIR", help=f"models and state of the service (default: {DEFAULT_DIRECTORY})"
    )
    p.add_argument(
        "--repository", metavar="DIR", help="model repository of --triton ADDR, to load and swap models there"
    )
    p.add_argument("--config", type=Path, metavar="FILE", help="TOML file with any of these options")
    p.add_argument(
        "--triton-cores", metavar="N,...", help="keep the embedded Triton on these processor cores"
    )
    p.add_argument("--threads", type=int, metavar="N", help="threads of each of its models (default: 1)")
    p.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write the addresses there as JSON, when listening"
    )
    p.add_argument("--check", action="store_true", help="say what Triton and its models can do, and end")
    p.add_argument("--json", action="store_true", help="with --check: as JSON")
    p.add_argument("--verbose", action="store_true", help="log more")
    add_protection_options(p)
    return p


def settings(argv: list[str]) -> Settings:
    """Reads command line and file.

    Raises:
        InvalidArgumentError: Something is wrong; the message is one line.
    """
    args = parser().parse_args(argv)
    given = {} if args.config is None else read_config(args.config, _known())
    for name in _VALUES:
        if getattr(args, name) is not None:
            given[name] = getattr(args, name)
    if args.triton_cores is not None:
        given["triton_cores"] = args.triton_cores
    options = Options(
        triton=given.get("triton", EMBEDDED),
        triton_ca=Path(given["triton_ca"]) if "triton_ca" in given else None,
        coaches=_coaches(given.get("coach", ("vlm=vlm", "clip=clip")), given),
        listen=tuple(given.get("listen", Options.listen)),
        admin_listen=_or_off(given.get("admin_listen", Options.admin_listen)),
        metrics_listen=_or_off(given.get("metrics_listen")),
        store=Path(given.get("store", DEFAULT_DIRECTORY)),
        repository=Path(given["repository"]) if "repository" in given else None,
        triton_cores=_cores(given.get("triton_cores", "")),
        model_options=_model_options(given),
        protection=protection_of(given, args),
        limits=_made(Limits(), given.get("limits", {}), "limits"),
    )
    if options.triton != EMBEDDED:
        target(options.triton)
        if options.triton_ca is not None:
            check_roots(options.triton_ca, "triton_ca")
    elif options.repository is not None or options.triton_ca is not None:
        raise InvalidArgumentError(
            "the embedded Triton has a repository of its own, and no TLS",
            field="repository" if options.repository is not None else "triton_ca",
            hint="Leave it out, or name a Triton with --triton HOST:PORT.",
        )
    if args.json and not args.check:
        raise InvalidArgumentError("--json goes with --check", field="json")
    return Settings(options, args.check, args.json, args.ready_file, args.verbose)


def coach_choice(text: str, numbers: dict[str, Any] | None = None) -> CoachChoice:
    """A coach from ``NAME=KIND[:MODEL]``.

    Args:
        text: As on the command line.
        numbers: Fields of its :class:`CoachSettings` that are not the default.

    Raises:
        InvalidArgumentError: It is none.
    """
    name, equals, what = text.partition("=")
    kind, colon, model = what.partition(":")
    if not equals or not name or kind not in KINDS or bool(colon) != bool(model):
        raise InvalidArgumentError(
            f"{text!r} is no coach", field="coach", hint="NAME=KIND[:MODEL], with the kind vlm or clip."
        )
    base = CoachSettings(name, KINDS[kind], **_BY_KIND[kind])
    return CoachChoice(_made(base, numbers or {}, kind), model)


def _coaches(texts: list[str] | tuple[str, ...], given: dict[str, Any]) -> tuple[CoachChoice, ...]:
    found: dict[str, CoachChoice] = {}
    for text in texts:
        kind = text.partition("=")[2].partition(":")[0]
        choice = coach_choice(text, given.get(kind))
        if choice.settings.name in found:
            raise InvalidArgumentError(f"there are two coaches {choice.settings.name!r}", field="coach")
        found[choice.settings.name] = choice
    if not found:
        raise InvalidArgumentError("there is no coach", field="coach")
    return tuple(found.values())


def _model_options(given: dict[str, Any]) -> ModelOptions:
    options = replace(ModelOptions(), **given.get("models", {}))
    if "threads" in given:
        options = replace(options, threads=given["threads"])
    if options.threads < 1:
        raise InvalidArgumentError(f"threads is {options.threads}; it must be at least 1", field="threads")
    if options.max_new_tokens < 1:
        raise InvalidArgumentError("max_new_tokens must be at least 1", field="models.max_new_tokens")
    return options


def _made(base: Any, changes: dict[str, Any], where: str) -> Any:
    try:
        return replace(base, **changes)
    except ValueError as error:
        raise InvalidArgumentError(str(error), field=where) from None


def _or_off(address: str | None) -> str | None:
    return None if address == "off" else address


def _cores(text: str) -> tuple[int, ...]:
    there = os.sched_getaffinity(0) | set(range(os.cpu_count() or 1))
    parts = text.split(",") if text else []
    if not all(part.isdigit() and int(part) in there for part in parts):
        raise InvalidArgumentError(
            f"{text!r} is no list of cores of this machine, like 0,1", field="triton_cores"
        )
    return tuple(int(part) for part in parts)


def _known() -> dict[str, Any]:
    """What a file may hold, by name, with a value of the right type."""
    texts = dict.fromkeys(
        ("triton", "triton_ca", "admin_listen", "metrics_listen", "store", "repository", "triton_cores"), ""
    )
    numbers = {f.name: f.default for f in fields(CoachSettings) if isinstance(f.default, int)}
    tables: dict[str, Any] = {
        "limits": vars(Limits()),
        "models": vars(ModelOptions()),
        **dict.fromkeys(KINDS, numbers),
    }
    return {**texts, "listen": (), "coach": (), "threads": 1, **tables, **IN_FILES}
