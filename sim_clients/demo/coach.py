"""The demo's coach: who starts it, who waits for it, and what is said when it joins."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from sim_clients.demo.coach_board import CoachBoard
from sim_clients.drive.arguments import natural, positive
from sim_clients.drive.coach_arguments import add_feedback_access, feedback_source
from sim_clients.drive.coach_service import CoachService, coach_service
from sim_clients.drive.coaching import Coaching, CoachingRequest
from sim_clients.drive.feedback_rule import MarkingRule

VLM = "vlm"
COACHES = ((VLM, "vlm"), ("clip", "clip"))


def add_demo_coach_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says whether and about what coaches are asked."""
    group = parser.add_argument_group("coaching")
    group.add_argument(
        "--coach",
        choices=("join", "wait", "off"),
        default="join",
        help="join: drive at once, the coach joins when it is up (minutes the first time, when its environment is "
        "made, then seconds); wait: drive when it is up; off: drive without (default: %(default)s)",
    )
    group.add_argument(
        "--feedback",
        metavar="ADDR",
        help="use this feedback service (host:port or unix:PATH) instead of starting one",
    )
    add_feedback_access(group)
    group.add_argument(
        "--feedback-every",
        type=positive,
        default=5,
        metavar="K",
        help="ask about every K-th step (default: %(default)s)",
    )
    group.add_argument(
        "--feedback-credits",
        type=natural,
        default=0,
        metavar="N",
        help="let the drive wait while more than N requests are unanswered (default: 0, never wait)",
    )


class DemoCoach:
    """The coach of a running demo.

    Args:
        service: The feedback service.
        arguments: The demo's.

    Attributes:
        request: What the session asks for.
        board: What coaches say.
    """

    def __init__(self, service: CoachService, arguments: argparse.Namespace) -> None:
        self.service = service
        self.request = CoachingRequest(
            COACHES, MarkingRule(every_k_steps=arguments.feedback_every), arguments.feedback_credits
        )
        self.board = CoachBoard(COACHES)
        self._waits = arguments.coach == "wait"
        self._joined: dict[str, dict[str, float]] = {}

    def begin(self, say: Callable[[str], None]) -> None:
        """Looks at it from now on, and waits for it if that was asked for.

        Raises:
            SimulatorError: No coach comes up.
        """
        self.service.watch()
        if self._waits:
            for line in self.service.wait():
                say(f"coach: {line}")
        self._note(0)

    def attend(self, coaching: Coaching | None) -> None:
        """Listens to a session's feedback."""
        if coaching is not None:
            coaching.on_settled = self.board.settle

    def news(self, steps: int) -> list[str]:
        """Returns lines for people since the last call, when so many steps are driven."""
        self._note(steps)
        return [f"coach: {line}" for line in self.service.lines()]

    def figures(self, coaching: Coaching | None) -> dict[str, Any]:
        """Returns the figures of the drive, JSON-able."""
        found = {} if coaching is None else coaching.figures()
        return {**found, "joined": self._joined, "trouble": self.service.trouble()}

    def closing_words(self) -> str:
        """Returns what to say at the end of the drive."""
        if not self._joined:
            return f"none was up before the drive ended ({self.service.trouble()}); --coach wait waits for it"
        parts = [
            f"{name} joined after {when['after_s']:.0f} s, at step {when['step']:.0f}"
            for name, when in self._joined.items()
        ]
        return "; ".join(parts)

    def _note(self, steps: int) -> None:
        for name, seconds in list(self.service.joined.items()):
            self._joined.setdefault(name, {"after_s": round(seconds, 1), "step": steps})


@contextlib.contextmanager
def demo_coach(arguments: argparse.Namespace, say: Callable[[str], None]) -> Iterator[DemoCoach | None]:
    """Starts the feedback service, or finds it; None with ``--coach off``, and where the coach itself drives."""
    if arguments.coach == "off" or arguments.policy == VLM:
        yield None
        return
    with coach_service(feedback_source(arguments)) as service:
        try:
            yield DemoCoach(service, arguments)
        finally:
            if arguments.feedback is None:
                say("stopping the coach")  # a Triton that is loading a model takes its time
