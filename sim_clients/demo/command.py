"""See it drive: starts a server and a simulator, and shows the drive."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codriver.errors import CodriverError
from sim_clients.demo.coach import VLM, DemoCoach, add_demo_coach_arguments, demo_coach
from sim_clients.demo.contact_sheet import ContactSheet
from sim_clients.demo.frames import Frame, to_frame
from sim_clients.demo.summary import DriveSummary
from sim_clients.drive.arguments import natural, positive
from sim_clients.drive.coach_arguments import feedback_source
from sim_clients.drive.coach_driver import EVERY_ROW, CoachDriver, open_coach_driver
from sim_clients.drive.coaching import Coaching
from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.feedback_rule import MarkingRule
from sim_clients.drive.loop import Answer, DriveLoop, Episode, Step
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.progress import EpisodeProgress
from sim_clients.drive.server import local_server
from sim_clients.drive.session import open_drive
from sim_clients.drive.tasks import TaskList
from sim_clients.simulator import SimulatorError
from sim_clients.simulators import check_town, load_simulator

if TYPE_CHECKING:
    from sim_clients.demo.coach_board import CoachBoard
    from sim_clients.demo.rerun_view import RerunView


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver demo",
        description="Starts an agent server, a feedback service and a simulator, and shows the policy driving and what "
        "its coaches say.",
        epilog="example: codriver demo --web",
    )
    parser.add_argument("--sim", default="sumo", help="simulator (default: %(default)s)")
    parser.add_argument("--town", help="town to drive in (default: the simulator's test town)")
    parser.add_argument(
        "--policy",
        help="policy directory, or 'vlm': the vision-language model drives by itself (default: the shipped policy)",
    )
    parser.add_argument(
        "--episodes", type=positive, help="episodes to drive (default: 1, or as many as --steps takes)"
    )
    parser.add_argument("--steps", type=positive, help="stop after this many steps (10 a second)")
    parser.add_argument(
        "--vehicles", type=natural, default=60, help="vehicles in town (default: %(default)s)"
    )
    parser.add_argument(
        "--walkers", type=natural, default=40, help="pedestrians in town (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, help="seed of route and traffic (default: %(default)s)"
    )
    look = parser.add_mutually_exclusive_group()
    look.add_argument("--headless", action="store_true", help="no live view")
    look.add_argument("--web", action="store_true", help="live view in the browser")
    look.add_argument("--rrd", type=Path, help="write the view to this file")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/demo"),
        help="folder of the contact sheet (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_demo_coach_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb."""
    arguments = parser().parse_args(argv)
    with contextlib.ExitStack() as stack:
        try:
            summary, view = _run(arguments, stack)
        except (CodriverError, SimulatorError, OSError) as error:
            print(f"codriver demo: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("codriver demo: stopped", file=sys.stderr)
            return 130
        print(json.dumps(summary.to_dict()) if arguments.json else summary.to_text(), flush=True)
        if view is not None and view.shows:
            _say(f"{view.where}; Ctrl-C ends the viewer")
            with contextlib.suppress(KeyboardInterrupt):
                view.wait()
    return 0


def _run(
    arguments: argparse.Namespace, viewers: contextlib.ExitStack
) -> tuple[DriveSummary, RerunView | None]:
    """Drives. The view outlives the drive: ``viewers`` ends it."""
    say = _say
    factory = load_simulator(arguments.sim)
    town = check_town(factory, arguments.town or factory.test_town)
    target = _view_target(arguments)
    if target is not None:
        _require_view()
    summary = DriveSummary(town)
    episodes = arguments.episodes or (None if arguments.steps else 1)
    tasks = TaskList(arguments.seed, episodes, arguments.vehicles, arguments.walkers)
    with contextlib.ExitStack() as stack:
        coach = stack.enter_context(demo_coach(arguments, say))
        board = None if coach is None else coach.board
        sheet = ContactSheet(board)
        answer, coaching, marking = _driver(arguments, coach, stack)
        say(
            f"starting {arguments.sim} in {town}: {arguments.vehicles} vehicles, {arguments.walkers} pedestrians"
        )
        config = WorkerConfig(0, arguments.sim, town, picture=True, marking=marking, seed=arguments.seed)
        pool = stack.enter_context(WorkerPool([config]))
        views: list[Callable[[Frame], None]] = [sheet.add, summary.add]
        if coach is not None:
            coach.attend(coaching)
            views.insert(0, coach.board.add)
        view = None if target is None else _open_view(target, board, coaching)
        if view is not None:
            viewers.callback(view.stop)
            stack.callback(view.finish)
            views.append(view.add)
            say(view.where)
        total = arguments.steps
        progress = stack.enter_context(EpisodeProgress("driving", total, count_steps=True))

        def show(step: Step) -> None:
            frame = to_frame(step)
            for receive in views:
                receive(frame)
            progress.step(step)
            for line in [] if coach is None else coach.news(summary.steps):
                progress.say(f"demo: {line}")

        def end(episode: Episode) -> None:
            summary.end(episode)
            progress.episode(episode)

        DriveLoop(
            pool,
            iter(tasks),
            answer,
            on_step=show,
            on_episode=end,
            max_rows=arguments.steps,
            coaching=coaching,
        ).run()
        if coach is not None:
            summary.coaching = coach.figures(coaching)
            summary.coach_note = coach.closing_words()
        if isinstance(answer, CoachDriver):
            summary.coach_note = (
                f"no answer, and so braked, at {sum(answer.unanswered.values())} of {answer.asked} steps"
            )
    path = arguments.out / "contact_sheet.png"
    sheet.write(path, f"codriver: {summary.policy} in {town}")
    summary.files.append(str(path))
    if view is not None and view.file is not None:
        summary.files.append(str(view.file))
    return summary, view


def _driver(
    arguments: argparse.Namespace, coach: DemoCoach | None, stack: contextlib.ExitStack
) -> tuple[Answer, Coaching | None, MarkingRule | None]:
    """Starts whoever answers observations: an agent server with its coaches, or the model that drives by itself."""
    if arguments.policy == VLM:
        _say("the vision-language model drives by itself")
        driver = open_coach_driver(feedback_source(arguments), lambda line: _say(f"coach: {line}"))
        return stack.enter_context(driver), None, EVERY_ROW
    _say("starting the agent server")
    linked = [] if coach is None else coach.service.source.options()
    address = stack.enter_context(local_server(arguments.policy, arguments=linked))
    if coach is not None:
        coach.begin(_say)
    request = None if coach is None else coach.request
    drive = stack.enter_context(open_drive(address, 1, picture=True, coaching=request))
    return drive, drive.coaching, drive.marking


def _view_target(arguments: argparse.Namespace) -> str | Path | None:
    """Where people look: "web", "window", the path of a file, or None for nowhere."""
    if arguments.headless:
        return None
    if arguments.web:
        return "web"
    has_display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if arguments.rrd is None and (has_display or sys.platform == "darwin"):
        return "window"
    return Path(arguments.rrd or arguments.out / "drive.rrd")


def _require_view() -> None:
    """Notices a missing viewer before anything is started.

    Raises:
        SimulatorError: It is missing.
    """
    try:
        import sim_clients.demo.rerun_view  # noqa: F401
    except ImportError as error:
        raise SimulatorError(
            f"the live view needs {error.name}: pip install 'codriver[view]', or add --headless"
        ) from error


def _open_view(target: str | Path, board: CoachBoard | None, coaching: Coaching | None) -> RerunView:
    from sim_clients.demo.coach_panel import CoachPanel
    from sim_clients.demo.rerun_view import RerunView

    return RerunView(target, None if board is None or coaching is None else CoachPanel(board, coaching))


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)
