"""The drive loop on SUMO: real worker processes, the expert at the wheel."""

import os
import signal

import pytest

from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.loop import DriveLoop
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.tasks import TaskList
from sim_clients.simulator import EpisodeTask, SimulatorError

pytest.importorskip("libsumo")


def _configs(count: int, **settings) -> list[WorkerConfig]:
    return [
        WorkerConfig(env, "sumo", "acorn", driver="expert", max_steps=60, **settings) for env in range(count)
    ]


def _tasks(episodes: int) -> list[EpisodeTask]:
    return [
        EpisodeTask(seed, seed, vehicles=5, walkers=3, min_route_m=50.0, min_signals=0)
        for seed in range(episodes)
    ]


def _poses(count: int, episodes: int) -> dict[int, list[tuple[float, float]]]:
    """Ego positions of each episode, by the position of its task."""
    poses: dict[int, list[tuple[float, float]]] = {}
    running: dict[int, list[tuple[float, float]]] = {}
    finished = []

    def step(step):
        env = step.row.batch.env[0]
        if step.row.batch.step[0] == 0:
            running[env] = []
        running[env].append((step.row.info["x"], step.row.info["y"]))

    def end(episode):
        finished.append(episode)
        poses[episode.position] = running[episode.env]

    with WorkerPool(_configs(count)) as pool:
        DriveLoop(pool, iter(_tasks(episodes)), None, on_step=step, on_episode=end).run()
    assert all(episode.record is not None for episode in finished)
    return poses


def test_every_task_is_driven_once_and_the_same_way_however_many_processes_drive():
    alone, together = _poses(1, 3), _poses(2, 3)
    assert sorted(alone) == sorted(together) == [0, 1, 2]
    assert alone == together
    assert alone[0] != alone[1]
    moved = [abs(path[-1][0] - path[0][0]) + abs(path[-1][1] - path[0][1]) for path in alone.values()]
    assert max(moved) > 5.0


def test_a_simulator_that_dies_costs_its_own_episode_and_nothing_else():
    rows, ends = [], []

    def step(step):
        rows.append(step.row)
        if len(rows) == 20:
            os.kill(pool._workers[1].process.pid, signal.SIGKILL)

    with WorkerPool(_configs(2)) as pool:
        DriveLoop(pool, iter(_tasks(5)), None, on_step=step, on_episode=ends.append).run()
    failed = [episode for episode in ends if episode.failure]
    assert sorted(episode.position for episode in ends) == [0, 1, 2, 3, 4]
    assert [episode.env for episode in failed] == [1]
    assert "died" in failed[0].failure
    assert all(episode.record["steps"] > 0 for episode in ends if not episode.failure)


def test_no_process_outlives_its_pool():
    with WorkerPool(_configs(2)) as pool:
        pids = [worker.process.pid for worker in pool._workers]
        DriveLoop(pool, iter(_tasks(2)), None, max_rows=10).run()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_unknown_town_is_named_with_the_towns_that_there_are():
    config = WorkerConfig(0, "sumo", "atlantis", driver="expert")
    with WorkerPool([config]) as pool, pytest.raises(SimulatorError, match=r"atlantis.*birch"):
        DriveLoop(pool, iter(TaskList(0, 1)), None).run()


def test_an_unknown_simulator_is_named_with_the_simulators_that_there_are():
    config = WorkerConfig(0, "gta", "los-santos", driver="expert")
    with WorkerPool([config]) as pool, pytest.raises(SimulatorError, match=r"gta.*sumo"):
        DriveLoop(pool, iter(TaskList(0, 1)), None).run()
