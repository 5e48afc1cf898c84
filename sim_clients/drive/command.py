"""Connect a simulator to an agent server and drive."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from codriver.dataset import DatasetError, merge_manifests, read_manifest
from codriver.errors import CodriverError
from sim_clients.drive.arguments import add_town_arguments, fraction, positive
from sim_clients.drive.coach_arguments import (
    add_coach_arguments,
    add_feedback_access,
    check_coach_arguments,
    coaching_lines,
    coaching_request,
    feedback_source,
)
from sim_clients.drive.coach_driver import EVERY_ROW, open_coach_driver
from sim_clients.drive.coaching import Coaching
from sim_clients.drive.config import Recording, WorkerConfig
from sim_clients.drive.feedback_rule import MarkingRule
from sim_clients.drive.loop import Answer, DriveLoop, Episode, Step
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.progress import EpisodeProgress
from sim_clients.drive.recorder import episode_id
from sim_clients.drive.reset_rule import ResetRule
from sim_clients.drive.session import open_drive
from sim_clients.drive.tasks import TaskList
from sim_clients.metrics.episode import EpisodeRecord
from sim_clients.metrics.summary import summarise
from sim_clients.simulator import SimulatorError
from sim_clients.simulators import check_town, load_simulator

_LOOK_FOR_STORED = 1000
"""Episodes of an endless list that are looked for in the dataset that it is recorded into."""


@dataclass
class _Driven:
    """What there is to report, also of a drive that is cut off.

    Attributes:
        steps: Steps of all environments.
        records: Of the episodes that ended.
        failures: Why the others ended.
        coaching: Figures of the coaches, or of the model that drove.
    """

    steps: int = 0
    records: list[EpisodeRecord] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    coaching: dict[str, Any] = field(default_factory=dict)


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver drive",
        description="Runs simulator processes whose observations an agent server answers.",
        epilog="example: codriver drive sumo --server 127.0.0.1:50051 --envs 2 --episodes 10",
    )
    parser.add_argument("simulator", help="simulator, for example sumo")
    parser.add_argument("--server", metavar="ADDR", help="agent server: host:port or unix:PATH")
    parser.add_argument(
        "--policy",
        choices=("vlm",),
        help="instead of --server: the vision-language model drives by itself, and all wait for its answers",
    )
    parser.add_argument(
        "--feedback",
        metavar="ADDR",
        help="with --policy vlm: use this feedback service instead of starting one",
    )
    add_feedback_access(parser)
    add_town_arguments(parser, town="the simulator's training town")
    parser.add_argument("--episodes", type=positive, help="episodes to drive (default: until interrupted)")
    parser.add_argument(
        "--steps", type=positive, help="stop after this many steps of all environments together"
    )
    parser.add_argument("--train", action="store_true", help="training terminations and endless routes")
    parser.add_argument(
        "--soft",
        type=fraction,
        default=0.0,
        metavar="P",
        help="with --train: probability of a soft reset, which keeps the traffic, while an environment's last "
        "return is below --soft-below (default: %(default)s)",
    )
    parser.add_argument(
        "--soft-below",
        type=float,
        default=100.0,
        metavar="RETURN",
        help="return from which on resets are hard; inf: soft resets never end (default: %(default)g)",
    )
    parser.add_argument(
        "--policy-id", help="policy of the server to drive with (default: the server's default)"
    )
    parser.add_argument(
        "--timeout",
        type=positive,
        default=30,
        metavar="S",
        help="longest wait for actions; a learner behind RemoteEnv may need more (default: %(default)s)",
    )
    parser.add_argument("--picture", action="store_true", help="send the 192x192 picture with every row")
    parser.add_argument(
        "--record", type=Path, metavar="DIR", help="record observations, labels and actions as shards"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_coach_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb."""
    arguments = parser().parse_args(argv)
    if arguments.soft and not arguments.train:
        parser().error("--soft needs --train: traffic that is kept makes episodes depend on each other")
    _check_driver(arguments)
    check_coach_arguments(parser(), arguments)
    driven = _Driven()
    try:
        _drive(arguments, driven)
    except (CodriverError, DatasetError, SimulatorError, OSError) as error:
        if driven.steps:  # what was driven until then is worth its figures
            _report(driven, arguments.json)
        print(f"codriver drive: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("codriver drive: stopped", file=sys.stderr)
    _report(driven, arguments.json)
    return 0


def _report(driven: _Driven, as_json: bool) -> None:
    """Prints the figures."""
    coaching = driven.coaching
    summary = summarise(driven.records) if driven.records else {"routes": 0}
    figures: dict[str, Any] = {**summary, "failures": driven.failures}
    if as_json:
        figures.update({"coaching": coaching} if "coaches" in coaching else coaching)
        print(json.dumps(figures), flush=True)
        return
    for name, value in figures.items():
        print(f"{name:28} {value}")
    for line in coaching_lines(coaching) if "coaches" in coaching else ():
        print(line)
    if "unanswered_share" in coaching:
        for name, value in coaching.items():
            print(f"{name:28} {value}")
    sys.stdout.flush()


def _drive(arguments: argparse.Namespace, driven: _Driven) -> None:
    factory = load_simulator(arguments.simulator)
    town = check_town(factory, arguments.town or factory.training_town)
    recording = None
    if arguments.record is not None:
        arguments.record.mkdir(parents=True, exist_ok=True)
        recording = Recording(
            str(arguments.record),
            cut_violations=False,
            provenance={"verb": "drive", "town": town, "seed": arguments.seed},
        )
    tasks = TaskList(
        arguments.seed,
        arguments.episodes,
        arguments.vehicles,
        arguments.walkers,
        endless=arguments.train,
        min_route_m=arguments.min_route_m,
        min_signals=arguments.min_signals,
    )

    if recording is not None:
        _check_unrecorded(arguments.record, tasks)

    def note(episode: Episode) -> None:
        progress.episode(episode)
        if episode.record is not None:
            driven.records.append(EpisodeRecord.from_json(episode.record))
        else:
            driven.failures.append(episode.failure or "failed")

    def count(step: Step) -> None:
        driven.steps += 1
        progress.step(step)

    with contextlib.ExitStack() as stack:
        # The session first: a wrong address is noticed before simulators start.
        answer, feedback, marking = _open(arguments, stack, driven.coaching)
        configs = [
            WorkerConfig(
                env,
                arguments.simulator,
                town,
                mode="train" if arguments.train else "evaluate",
                picture=arguments.picture,
                marking=marking,
                recording=recording,
                seed=arguments.seed,
            )
            for env in range(arguments.envs)
        ]
        if recording is not None:
            stack.callback(_merge, arguments.record)
        pool = stack.enter_context(WorkerPool(configs))
        progress = stack.enter_context(
            EpisodeProgress(
                f"driving in {town}",
                arguments.episodes or arguments.steps,
                count_steps=arguments.episodes is None,
            )
        )
        DriveLoop(
            pool,
            iter(tasks),
            answer,
            on_step=count,
            on_episode=note,
            max_rows=arguments.steps,
            reset_rule=ResetRule(arguments.soft, arguments.soft_below) if arguments.train else None,
            coaching=feedback,
        ).run()


def _check_driver(arguments: argparse.Namespace) -> None:
    if bool(arguments.server) == bool(arguments.policy):
        parser().error("say who drives: --server ADDR, or --policy vlm")
    if (arguments.feedback or arguments.feedback_tls_ca or arguments.feedback_token) and not arguments.policy:
        parser().error("--feedback names the service of --policy vlm; a server knows its own")
    if arguments.policy and (arguments.coach or arguments.policy_id):
        parser().error("--policy vlm drives without a server: --coach and --policy-id are asked of one")


def _open(
    arguments: argparse.Namespace, stack: contextlib.ExitStack, coaching: dict[str, Any]
) -> tuple[Answer, Coaching | None, MarkingRule | None]:
    """Opens the session, or the way to the model that drives; ``coaching`` gets its figures at the end."""
    if arguments.policy is not None:
        coach = stack.enter_context(open_coach_driver(feedback_source(arguments), _say))
        stack.callback(lambda: coaching.update(coach.figures()))
        return coach, None, EVERY_ROW
    drive = stack.enter_context(
        open_drive(
            arguments.server,
            arguments.envs,
            policy_id=arguments.policy_id,
            picture=arguments.picture,
            coaching=coaching_request(arguments),
            timeout_s=arguments.timeout,
        )
    )
    feedback = drive.coaching
    if feedback is not None:
        stack.callback(lambda: coaching.update(feedback.figures()))
        for name in feedback.refused:
            _say(f"{name!r} is not available at the server")
    return drive, feedback, drive.marking


def _say(line: str) -> None:
    print(f"codriver drive: coach: {line}", file=sys.stderr, flush=True)


def _check_unrecorded(directory: Path, tasks: TaskList) -> None:
    """Refuses a dataset that holds episodes which this run would drive.

    Raises:
        DatasetError: It holds some, or is none that can be read.
    """
    if not any(directory.glob("manifest*.json")):
        return
    stored = set(read_manifest(directory).episode_ids())
    # Lists are driven from their beginning, so an endless one of the same seed shows early.
    count = sum(episode_id(task) in stored for task in islice(tasks, _LOOK_FOR_STORED))
    if count:
        raise DatasetError(
            f"{directory} holds {count} of these episodes already", hint="choose another --seed or --record"
        )


def _merge(directory: Path) -> None:
    with contextlib.suppress(DatasetError):  # nothing was recorded
        merge_manifests(directory)
