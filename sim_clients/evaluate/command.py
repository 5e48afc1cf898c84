"""Drive fixed routes and report the metrics."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from codriver.errors import CodriverError
from sim_clients.drive.arguments import add_town_arguments, positive
from sim_clients.drive.coach_arguments import add_feedback_access, feedback_source
from sim_clients.drive.config import Driver
from sim_clients.drive.progress import EpisodeProgress
from sim_clients.drive.tasks import TaskList
from sim_clients.evaluate.run import Evaluation, run_evaluation
from sim_clients.metrics.episode import EpisodeRecord
from sim_clients.metrics.log import LogError, append_records, read_records
from sim_clients.metrics.summary import summarise
from sim_clients.simulator import SimulatorError
from sim_clients.simulators import check_town, load_simulator

_LOCAL_DRIVERS: tuple[Driver, ...] = ("expert", "blind")
_VLM: Literal["vlm"] = "vlm"


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver evaluate",
        description="Drives fixed routes over the wire and reports the metrics. The routes follow from the seed.",
        epilog="example: codriver evaluate --routes 50 --policy expert --json",
    )
    parser.add_argument("--sim", default="sumo", help="simulator (default: %(default)s)")
    add_town_arguments(parser, town="the simulator's test town")
    parser.add_argument("--routes", type=positive, default=50, help="routes to drive (default: %(default)s)")
    parser.add_argument(
        "--policy",
        help="policy directory, 'expert' (the scene expert), 'blind' (a route follower that sees neither traffic "
        "nor lights) or 'vlm' (the vision-language model by itself); default: the shipped policy",
    )
    parser.add_argument(
        "--feedback",
        metavar="ADDR",
        help="with --policy vlm: use this feedback service instead of starting one",
    )
    add_feedback_access(parser)
    parser.add_argument("--server", metavar="ADDR", help="use this agent server instead of starting one")
    parser.add_argument(
        "--hide",
        action="append",
        choices=("traffic", "lights"),
        default=[],
        help="blank a group of channels out of the observation; may be given twice",
    )
    parser.add_argument(
        "--log",
        type=Path,
        help="per-episode log (default: runs/evaluate/TOWN-POLICY.jsonl, POLICY with its folder)",
    )
    parser.add_argument(
        "--from", dest="from_log", type=Path, metavar="LOG", help="recompute from a log; drive nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb."""
    arguments = parser().parse_args(argv)
    if arguments.server and arguments.policy:
        parser().error("--server drives with that server's policy: leave out --policy")
    if (
        arguments.feedback or arguments.feedback_tls_ca or arguments.feedback_token
    ) and arguments.policy != _VLM:
        parser().error("--feedback names the service of --policy vlm")
    if arguments.hide and arguments.policy == _VLM:
        parser().error("--hide blanks tensors of the policy: 'vlm' looks at the picture")
    if arguments.hide and arguments.policy in _LOCAL_DRIVERS:
        parser().error(f"--hide blanks what a policy sees: {arguments.policy!r} looks at the scene itself")
    of_driver: dict[str, Any] = {}
    try:
        records = read_records(arguments.from_log) if arguments.from_log else _drive(arguments, of_driver)
    except (CodriverError, SimulatorError, LogError, OSError) as error:
        print(f"codriver evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("codriver evaluate: stopped; finished episodes are in the log", file=sys.stderr)
        return 130
    figures = {**summarise(records), **of_driver}
    if arguments.json:
        print(json.dumps(figures))
    else:
        _print_table(figures)
    return 0


def _drive(arguments: argparse.Namespace, of_driver: dict[str, Any]) -> list[EpisodeRecord]:
    local = arguments.policy in (*_LOCAL_DRIVERS, _VLM)
    driver: Driver | Literal["vlm"] = arguments.policy if local else "server"
    factory = load_simulator(arguments.sim)
    town = check_town(factory, arguments.town or factory.test_town)
    evaluation = Evaluation(
        simulator=arguments.sim,
        town=town,
        tasks=TaskList(
            arguments.seed,
            arguments.routes,
            arguments.vehicles,
            arguments.walkers,
            min_route_m=arguments.min_route_m,
            min_signals=arguments.min_signals,
        ),
        driver=driver,
        address=arguments.server,
        policy=arguments.policy if driver == "server" else None,
        envs=arguments.envs,
        hidden=tuple(arguments.hide),
        feedback=feedback_source(arguments),
    )
    log = arguments.log or _default_log(town, arguments)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.open("a").close()  # noticed now if it cannot be written
    replaced: list[Path] = []

    def keep(record: EpisodeRecord) -> None:
        if not replaced:  # a log of before stays until there is something new
            log.write_text("", encoding="utf-8")
            replaced.append(log)
        append_records(log, [record])

    with EpisodeProgress(f"evaluating in {town}", arguments.routes) as progress:
        records = run_evaluation(
            evaluation,
            on_step=progress.step,
            on_episode=progress.episode,
            on_record=keep,
            say=lambda line: progress.say(f"codriver evaluate: coach: {line}"),
            figures=of_driver,
        )
    print(f"codriver evaluate: wrote {log}", file=sys.stderr)
    return records


def _default_log(town: str, arguments: argparse.Namespace) -> Path:
    name = "shipped"
    if arguments.server:
        # Two servers are two policies as often as not.
        name = f"server-{_plain(arguments.server)}"
    elif arguments.policy in (*_LOCAL_DRIVERS, _VLM):
        name = arguments.policy
    elif arguments.policy:
        # `runs/a/policy` and `runs/b/policy` are two policies.
        name = "-".join(Path(arguments.policy).resolve().parts[-2:]).strip("/")
    hidden = "".join(f"-no-{group}" for group in sorted(arguments.hide))
    return Path("runs/evaluate") / f"{town}-{name}{hidden}.jsonl"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def _print_table(figures: dict[str, Any]) -> None:
    table = Table("figure", "value", title=f"{figures['routes']} routes in {figures['town']}")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)
