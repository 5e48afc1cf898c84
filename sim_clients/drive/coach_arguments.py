"""Command line arguments that ask for coaches."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codriver.coaching.source import FeedbackSource
from codriver.errors import InvalidArgumentError
from sim_clients.drive.arguments import fraction, length, natural
from sim_clients.drive.coaching import KINDS, CoachingRequest
from sim_clients.drive.feedback_rule import MarkingRule


def add_coach_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says which coaches to ask, and about what."""
    group = parser.add_argument_group("coaching")
    group.add_argument(
        "--coach",
        action="append",
        type=coach,
        default=[],
        metavar="NAME[=KIND]",
        help="ask this coach of the server's feedback service; may be given several times. KIND is vlm or clip, and "
        "need not be said of the coaches vlm and clip",
    )
    group.add_argument(
        "--feedback-every",
        type=natural,
        metavar="K",
        help="ask about every K-th step of an episode (default: 1, or 0 where another condition is given)",
    )
    group.add_argument(
        "--feedback-ttc",
        type=length,
        default=0.0,
        metavar="S",
        help="ask about scenes with a time to collision under this many seconds",
    )
    group.add_argument(
        "--feedback-changed",
        type=fraction,
        default=0.0,
        metavar="SHARE",
        help="ask about pictures that differ from the last one asked about in at least this share of pixels",
    )
    group.add_argument(
        "--feedback-credits",
        type=natural,
        default=0,
        metavar="N",
        help="let an environment wait while it has more than N unanswered requests (default: 0, never wait)",
    )


def add_feedback_access(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds what lets us in to the service of ``--feedback``, which the parser has."""
    parser.add_argument(
        "--feedback-tls-ca",
        type=Path,
        metavar="FILE",
        help="the service of --feedback speaks TLS, certified by these roots (PEM)",
    )
    parser.add_argument(
        "--feedback-token", type=Path, metavar="FILE", help="file with the bearer token that it wants"
    )


def feedback_source(arguments: argparse.Namespace) -> FeedbackSource | None:
    """Returns the service that the arguments name; None where they name none.

    Raises:
        InvalidArgumentError: The arguments do not go together.
    """
    if arguments.feedback is None:
        if arguments.feedback_tls_ca or arguments.feedback_token:
            raise InvalidArgumentError(
                "--feedback-tls-ca and --feedback-token belong to a service that --feedback names",
                field="feedback",
            )
        return None
    source = FeedbackSource(arguments.feedback, arguments.feedback_tls_ca, arguments.feedback_token)
    source.check()
    return source


def coach(text: str) -> tuple[str, str]:
    """Reads a coach's name and kind."""
    name, _, kind = text.partition("=")
    kind = kind or name
    if not name or kind not in KINDS:
        raise argparse.ArgumentTypeError(f"say of which kind {name!r} is: {name}={' or '.join(KINDS)}")
    return name, kind


def coaching_request(arguments: argparse.Namespace) -> CoachingRequest | None:
    """Returns what the arguments ask for; None without a coach."""
    if not arguments.coach:
        return None
    conditions = arguments.feedback_ttc > 0 or arguments.feedback_changed > 0
    every = arguments.feedback_every
    rule = MarkingRule(
        every_k_steps=(0 if conditions else 1) if every is None else every,
        risky_ttc_s=arguments.feedback_ttc,
        changed_share=arguments.feedback_changed,
    )
    return CoachingRequest(tuple(dict.fromkeys(arguments.coach)), rule, arguments.feedback_credits)


def check_coach_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuses conditions without a coach, coaches without a condition, and a name of two kinds."""
    request = coaching_request(arguments)
    if request is None:
        given = [arguments.feedback_every, arguments.feedback_ttc, arguments.feedback_changed]
        if any(given) or arguments.feedback_credits:
            parser.error("--feedback-... says what coaches are asked about: it needs --coach")
        return
    if not request.rule.marks_any:
        parser.error("no row would be marked: give --feedback-every, --feedback-ttc or --feedback-changed")
    names = [name for name, _ in request.coaches]
    if len(set(names)) < len(names):
        parser.error("--coach gives one name two kinds")


def coaching_lines(figures: dict[str, Any]) -> list[str]:
    """Returns what became of a drive's feedback, a line a coach, for people."""
    lines = [f"{name}: not available at the server, not asked" for name in figures["refused"]]
    for name, account in figures["coaches"].items():
        parts = [f"{account['values']} of {account['asked']} answers"]
        if account["availability"] is not None:
            parts.append(f"availability {100 * account['availability']:.1f} %")
        if account["age_steps_p50"] is not None:
            ages = (account["age_steps_p50"], account["age_steps_p95"], account["age_steps_max"])
            parts.append("age {:.0f} steps (95 %: {:.0f}, at most {:.0f})".format(*ages))
        if account["pending"]:
            parts.append(f"{account['pending']} not answered yet")
        parts += [f"{count} {reason_words(reason)}" for reason, count in account["unavailable"].items()]
        lines.append(f"{name}: {', '.join(parts)}")
    return lines


def reason_words(reason: str) -> str:
    """Returns a reason for people: "TIMED_OUT" is "timed out"."""
    return reason.lower().replace("_", " ")
