"""Record driving with expert labels as a dataset."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from codriver import __version__
from codriver.dataset import DatasetError, Manifest, merge_manifests, read_manifest
from codriver.errors import CodriverError
from sim_clients.collect.dropped import DroppedEpisodes
from sim_clients.drive.arguments import add_town_arguments, fraction, length, positive
from sim_clients.drive.config import Perturbation, Recording, WorkerConfig
from sim_clients.drive.loop import DriveLoop, Episode
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.progress import EpisodeProgress
from sim_clients.drive.recorder import episode_id
from sim_clients.drive.server import local_server
from sim_clients.drive.session import open_drive
from sim_clients.drive.tasks import TaskList
from sim_clients.scene import STEP_S
from sim_clients.simulator import EpisodeTask, SimulatorError
from sim_clients.simulators import check_town, load_simulator

MAX_EPISODE_S = 300
"""Longest recorded episode (Found-RL's data)."""


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver collect",
        description="Records driving as a dataset: what was seen, what the expert would do, what was done. "
        "The same command continues an interrupted run.",
        epilog="example: codriver collect --out data/expert --episodes 100",
    )
    parser.add_argument("--out", type=Path, required=True, help="dataset directory")
    parser.add_argument("--sim", default="sumo", help="simulator (default: %(default)s)")
    add_town_arguments(parser, town="the simulator's training town")
    parser.add_argument(
        "--episodes", type=positive, default=100, help="episodes to drive (default: %(default)s)"
    )
    parser.add_argument(
        "--policy",
        help="let this policy drive and the expert label what it meets (default: the expert drives)",
    )
    parser.add_argument(
        "--expert-share",
        type=fraction,
        default=0.0,
        help="with --policy: share of time that the expert drives",
    )
    parser.add_argument(
        "--steer-noise",
        type=fraction,
        default=0.25,
        help="largest steering disturbance (default: %(default)s)",
    )
    parser.add_argument(
        "--speed-noise",
        type=fraction,
        default=0.5,
        help="largest acceleration disturbance (default: %(default)s)",
    )
    parser.add_argument(
        "--stall-every",
        type=length,
        default=0.0,
        metavar="S",
        help="stop for no reason about every S seconds, so that starting is in the data (default: 0, never)",
    )
    parser.add_argument(
        "--traffic-spread",
        type=fraction,
        default=0.5,
        help="vary vehicles and pedestrians between episodes by this share (default: %(default)s)",
    )
    parser.add_argument(
        "--max-seconds",
        type=positive,
        default=MAX_EPISODE_S,
        metavar="S",
        help="cut episodes after this time (default: %(default)s)",
    )
    parser.add_argument(
        "--rows-per-shard",
        type=positive,
        default=4096,
        metavar="N",
        help="write a shard when it has this many rows; an interruption loses less than one (default: %(default)s)",
    )
    parser.add_argument("--keep-violations", action="store_true", help="do not cut what led to a violation")
    parser.add_argument(
        "--speed-bin-oracle",
        action="store_true",
        help="also store what the expert would do if it knew the speed only as one of the coaches' four bins",
    )
    parser.add_argument("--no-pictures", action="store_true", help="leave out the 192x192 pictures")
    parser.add_argument("--json", action="store_true", help="print what was recorded as JSON")
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb."""
    arguments = parser().parse_args(argv)
    if arguments.expert_share and not arguments.policy:
        parser().error("--expert-share needs --policy")
    try:
        manifest, cut_away = _collect(arguments)
    except (CodriverError, DatasetError, SimulatorError, OSError) as error:
        print(f"codriver collect: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("codriver collect: stopped; the same command continues", file=sys.stderr)
        return 130
    figures = {**_figures(manifest, arguments.out), "cut_away": cut_away}
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(
            f"{figures['rows']} rows of {figures['episodes']} episodes in {arguments.out}, {figures['mb']} MB"
        )
        if cut_away:
            print(
                f"{cut_away} episodes were cut away entirely: a violation came too early, or the route was left"
            )
    return 0


def _figures(manifest: Manifest, directory: Path) -> dict[str, Any]:
    return {
        "directory": str(directory),
        "rows": manifest.rows,
        "episodes": len(manifest.episode_ids()),
        "mb": round(sum(shard.nbytes for shard in manifest.shards) / 1e6, 1),
    }


def missing_tasks(
    tasks: TaskList, directory: Path, provenance: dict[str, Any], dropped: Container[str] = ()
) -> Iterator[EpisodeTask]:
    """Yields the tasks that the dataset does not hold yet and of which something may be kept.

    Args:
        tasks: All tasks.
        directory: The dataset.
        provenance: Facts of this run.
        dropped: Ids of episodes that were driven before and cut away entirely.

    Raises:
        DatasetError: It holds one of them from another simulator, town or driver: the ids of episodes name seeds alone.
    """
    stored: dict[str, dict[str, Any]] = {}
    if any(directory.glob("manifest*.json")):
        manifest = read_manifest(directory)
        for shard in manifest.shards:
            stored |= {episode.id: manifest.provenance[shard.provenance] for episode in shard.episodes}
    for task in tasks:
        origin = stored.get(episode_id(task))
        if origin is None:
            if episode_id(task) not in dropped:
                yield task
            continue
        for name in ("simulator", "town", "driver"):
            if origin.get(name, provenance[name]) != provenance[name]:
                raise DatasetError(
                    f"{directory} holds episodes of the same seed with {name} {origin[name]!r}",
                    hint="choose another --seed or --out",
                )


def _collect(arguments: argparse.Namespace) -> tuple[Manifest, int]:
    """Collects; returns what the dataset holds then and how many of the tasks were cut away entirely."""
    factory = load_simulator(arguments.sim)
    town = check_town(factory, arguments.town or factory.training_town)
    tasks = TaskList(
        arguments.seed,
        arguments.episodes,
        arguments.vehicles,
        arguments.walkers,
        traffic_spread=arguments.traffic_spread,
        min_route_m=arguments.min_route_m,
        min_signals=arguments.min_signals,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    driver = "server" if arguments.policy else "expert"
    provenance = {
        "collector": f"codriver {__version__}",
        "simulator": arguments.sim,
        "town": town,
        "seed": arguments.seed,
        "driver": Path(arguments.policy).name if arguments.policy else "expert",
        "expert_share": arguments.expert_share if arguments.policy else 1.0,
        "steer_noise": arguments.steer_noise,
        "speed_noise": arguments.speed_noise,
        **({"stall_every_s": arguments.stall_every} if arguments.stall_every else {}),
        **({"speed_bin_oracle": True} if arguments.speed_bin_oracle else {}),
    }
    dropped = DroppedEpisodes(arguments.out, provenance)
    known: Container[str] = frozenset() if arguments.keep_violations else dropped
    missing = list(missing_tasks(tasks, arguments.out, provenance, known))
    recording = Recording(
        str(arguments.out),
        pictures=not arguments.no_pictures,
        cut_violations=not arguments.keep_violations,
        speed_bin_labels=arguments.speed_bin_oracle,
        provenance=provenance,
        rows_per_shard=arguments.rows_per_shard,
    )
    configs = [
        WorkerConfig(
            env,
            arguments.sim,
            town,
            driver="server" if arguments.policy else "expert",
            max_steps=round(arguments.max_seconds / STEP_S),
            perturbation=Perturbation(
                steer=arguments.steer_noise, speed=arguments.speed_noise, stall_gap_s=arguments.stall_every
            ),
            expert_share=arguments.expert_share,
            recording=recording,
            seed=arguments.seed,
        )
        for env in range(min(arguments.envs, max(1, len(missing))))
    ]

    def note(episode: Episode) -> None:
        progress.episode(episode)
        if episode.cut_away:
            dropped.add(episode_id(episode.task))

    if missing:
        with contextlib.ExitStack() as stack:
            answer = None
            if driver == "server":
                address = stack.enter_context(local_server(arguments.policy))
                answer = stack.enter_context(open_drive(address, len(configs)))
            pool = stack.enter_context(WorkerPool(configs))
            progress = stack.enter_context(EpisodeProgress(f"collecting in {town}", len(missing)))
            DriveLoop(pool, iter(missing), answer, on_step=progress.step, on_episode=note).run()
    count = sum(episode_id(task) in known for task in tasks)
    if not any(arguments.out.glob("manifest*.json")):
        if count < arguments.episodes:
            raise DatasetError(
                f"nothing was recorded: {count} of {arguments.episodes} episodes were cut away "
                "entirely, the others failed"
            )
        raise DatasetError(
            f"nothing was recorded: all {count} episodes were cut away entirely, since a violation came too early",
            hint="--keep-violations stores them uncut",
        )
    return merge_manifests(arguments.out), count
