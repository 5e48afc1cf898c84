"""Drives a list of tasks and keeps one record an episode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from codriver.coaching.source import FeedbackSource
from sim_clients.drive.coach_driver import EVERY_ROW, open_coach_driver
from sim_clients.drive.config import Driver, WorkerConfig
from sim_clients.drive.loop import Answer, DriveLoop, Episode, Step
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.server import local_server
from sim_clients.drive.session import open_drive
from sim_clients.drive.tasks import TaskList
from sim_clients.metrics.episode import EpisodeRecord
from sim_clients.termination import EndReason


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate.

    Attributes:
        simulator: Simulator by name.
        town: Town.
        tasks: Episodes; a finite list.
        driver: Who drives: "server", "expert" or "blind"; "vlm" is the vision-language model by itself.
        address: Agent server to use. None: one is started for the evaluation.
        policy: Policy directory for the started server. None: its default.
        envs: Simulator processes.
        hidden: Groups blanked out of the observation.
        feedback: Feedback service for "vlm". None: one is started for the evaluation.
    """

    simulator: str
    town: str
    tasks: TaskList
    driver: Driver | Literal["vlm"] = "server"
    address: str | None = None
    policy: str | None = None
    envs: int = 1
    hidden: tuple[str, ...] = ()
    feedback: FeedbackSource | None = None


def run_evaluation(
    evaluation: Evaluation,
    *,
    on_step: Callable[[Step], None] | None = None,
    on_episode: Callable[[Episode], None] | None = None,
    on_record: Callable[[EpisodeRecord], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
    figures: dict[str, Any] | None = None,
) -> list[EpisodeRecord]:
    """Drives every task once.

    An episode whose simulator died or whose rows the server refused counts as failed: it completed nothing.

    Args:
        evaluation: What to evaluate.
        on_step: Called for every row.
        on_episode: Called for every episode that ends.
        on_record: Called with every record as it is made.
        say: Told how a coach comes up that is waited for, a line each.
        figures: Gets what is known of the driver beside the records ("vlm": how often it gave no action).

    Returns:
        One record a task, in the order of the tasks.

    Raises:
        SimulatorError: Simulator or server did not start, or fail again and again.
        CodriverError: The agent server refuses the session or is gone.
    """
    records: dict[int, EpisodeRecord] = {}
    driven_by: list[str] = ["" if evaluation.driver == "server" else evaluation.driver]

    def note_policy(step: Step) -> None:
        if step.answer is not None and step.answer.HasField("policy"):
            driven_by[0] = step.answer.policy.policy_id
        if on_step is not None:
            on_step(step)

    def note_record(episode: Episode) -> None:
        if episode.record is not None:
            record = EpisodeRecord.from_json(episode.record)
        else:
            record = EpisodeRecord(
                town=evaluation.town,
                route_seed=episode.task.route_seed,
                traffic_seed=episode.task.traffic_seed,
                end_reason=EndReason.FAILED.value,
            )
        records[episode.position] = replace(record, policy_id=driven_by[0])
        if on_record is not None:
            on_record(records[episode.position])
        if on_episode is not None:
            on_episode(episode)

    with contextlib.ExitStack() as stack:
        count = evaluation.envs
        if evaluation.tasks.episodes is not None:
            count = min(count, evaluation.tasks.episodes)
        answer: Answer | None = None
        vlm = evaluation.driver == "vlm"
        address = evaluation.address
        if evaluation.driver == "server" and address is None:
            address = stack.enter_context(local_server(evaluation.policy))
        configs = [
            WorkerConfig(
                env,
                evaluation.simulator,
                evaluation.town,
                driver="server" if evaluation.driver == "vlm" else evaluation.driver,
                marking=EVERY_ROW if vlm else None,
                hidden=evaluation.hidden,
            )
            for env in range(count)
        ]
        if address is not None:  # the session first: what is wrong with it is noticed before simulators start
            answer = stack.enter_context(open_drive(address, count))
        elif vlm:
            coach = stack.enter_context(open_coach_driver(evaluation.feedback, say))
            answer = coach
            if figures is not None:
                stack.callback(lambda: figures.update(coach.figures()))
        pool = stack.enter_context(WorkerPool(configs))
        DriveLoop(pool, iter(evaluation.tasks), answer, on_step=note_policy, on_episode=note_record).run()
    return [records[position] for position in sorted(records)]
