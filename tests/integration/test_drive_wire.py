"""The drive loop over the wire: real server, real SUMO in worker processes."""

from __future__ import annotations

import hashlib
import os
import signal

import numpy as np
import pytest

from codriver.client import AgentClient
from codriver.driving import action_spec, observation_spec
from codriver.v1 import action_pb2, observation_pb2
from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.loop import DriveLoop
from sim_clients.drive.pool import WorkerPool
from sim_clients.simulator import EpisodeTask

FIRST, MID = observation_pb2.STEP_KIND_FIRST, observation_pb2.STEP_KIND_MID
LAST = (observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED)


class Drive:
    """Drives tasks in a session of its own and keeps everything that went over the wire.

    Attributes:
        batches: Batches as sent.
        answers: Their answers.
        ends: Episodes that ended.
        counts: What the server counted, from CloseSession.
    """

    def __init__(self, address, tasks, *, envs, steps, before_send=None):
        self.batches, self.answers, self.ends = [], [], []
        configs = [WorkerConfig(env, "sumo", "acorn", max_steps=steps) for env in range(envs)]
        specs = {"observation_spec": observation_spec(), "action_spec": action_spec()}
        with AgentClient(address, timeout_s=60) as client, WorkerPool(configs) as pool:
            session = client.open_session(num_envs=envs, **specs)
            with session.drive() as stream:

                def answer(batch):
                    if before_send is not None:
                        before_send(self, pool)
                    self.batches.append(batch)
                    self.answers.append(stream.step(batch))
                    return self.answers[-1]

                DriveLoop(pool, iter(tasks), answer, on_episode=self.ends.append).run()
                self.counts = session.close()

    def keys(self, env):
        """(episode, step, kind) of an environment's rows in the order sent."""
        return [
            (batch.episode[row], batch.step[row], batch.step_kind[row])
            for batch in self.batches
            for row in range(len(batch.env))
            if batch.env[row] == env
        ]

    def episodes(self, env):
        """An environment's rows by episode: {episode: [(step, kind), ...]}."""
        found = {}
        for episode, step, kind in self.keys(env):
            found.setdefault(episode, []).append((step, kind))
        return found


def task(seed):
    return EpisodeTask(seed, seed, vehicles=5, walkers=3, min_route_m=50.0, min_signals=0)


def is_whole(rows):
    """True if an episode's rows count up from a first one to a last one."""
    steps, kinds = zip(*rows)
    return (
        steps == tuple(range(len(rows)))
        and kinds[0] == FIRST
        and set(kinds[1:-1]) <= {MID}
        and kinds[-1] in LAST
    )


@pytest.fixture(scope="module")
def drive(server):
    """Five episodes in two environments over TCP."""
    return Drive(server["tcp"], [task(seed) for seed in range(5)], envs=2, steps=25)


def test_every_row_is_answered_and_the_server_counts_the_same_episodes(drive):
    assert sorted(episode.position for episode in drive.ends) == [0, 1, 2, 3, 4]
    assert all(episode.failure is None for episode in drive.ends)
    assert drive.counts.episodes == 5
    rows = sum(len(batch.env) for batch in drive.batches)
    assert drive.counts.frames_error == drive.counts.frames_fallback == 0
    assert drive.counts.frames_ok == rows - 5  # final observations ask for no action
    for batch, answer in zip(drive.batches, drive.answers):
        assert (answer.env, answer.episode, answer.step) == (batch.env, batch.episode, batch.step)
        ended = [status == action_pb2.ACTION_STATUS_EPISODE_END for status in answer.status]
        assert ended == [kind in LAST for kind in batch.step_kind]
        assert answer.policy.policy_id == (
            "" if all(ended) else "untrained"
        )  # who answered, if anybody had to


def test_keys_count_up(drive):
    for env in (0, 1):
        episodes = drive.episodes(env)
        assert list(episodes) == list(range(len(episodes)))
        assert all(is_whole(rows) for rows in episodes.values())
    assert len(drive.episodes(0)) + len(drive.episodes(1)) == 5


def test_environments_in_mid_episode_always_travel_in_one_message(drive):
    running = set()
    for batch in drive.batches:
        assert running <= set(batch.env)  # whoever is not in mid-episode comes when its reset is done
        assert list(batch.env) == sorted(set(batch.env))
        running = {env for env, kind in zip(batch.env, batch.step_kind) if kind not in LAST}
    assert sum(len(batch.env) == 2 for batch in drive.batches) > 20


def test_the_applied_action_is_the_one_that_was_answered(drive):
    answered = {}
    for batch, answer in zip(drive.batches, drive.answers):
        for row, env in enumerate(batch.env):
            applied = np.float32(batch.applied_action[2 * row : 2 * row + 2])
            if batch.step_kind[row] != FIRST:
                np.testing.assert_array_equal(applied, answered[env])
            answered[env] = np.clip(np.float32(answer.action[2 * row : 2 * row + 2]), -1, 1)


def test_a_simulator_that_dies_costs_nobody_else_a_row(server):
    killed = []

    def kill(drive, pool):
        if not killed and len(drive.keys(1)) >= 5:
            killed.append(pool._workers[1].process.pid)
            os.kill(killed[0], signal.SIGKILL)
            pool._workers[1].process.join()  # gone, so that sending to it fails too

    drive = Drive(server["unix"], [task(seed) for seed in range(4)], envs=2, steps=25, before_send=kill)
    failed = [episode for episode in drive.ends if episode.failure]
    assert [(episode.env, "died" in episode.failure) for episode in failed] == [(1, True)]
    assert sorted(episode.position for episode in drive.ends) == [0, 1, 2, 3]
    assert all(is_whole(rows) for rows in drive.episodes(0).values())
    episodes = drive.episodes(1)
    assert not is_whole(episodes[0]) and len(episodes[0]) >= 2
    assert all(is_whole(rows) for number, rows in episodes.items() if number > 0)
    # The server took the next episode number in the same session, and saw three episodes end.
    assert drive.counts.frames_error == 0
    assert drive.counts.episodes == 3


def digest(drive, episode):
    """Hash of everything in an episode that was seen, answered, earned and done."""
    content = hashlib.sha256()
    for batch, answer in zip(drive.batches, drive.answers):
        if batch.episode[0] != episode:
            continue
        for column in batch.tensors:
            content.update(column.data)
        for values in (batch.reward, batch.applied_action, answer.action, answer.value):
            content.update(np.array(values, "<f4").tobytes())
    return content.hexdigest()


def test_the_same_seeds_and_policy_drive_the_same_way_to_the_bit(server):
    first = Drive(server["unix"], [task(1), task(2), task(1)], envs=1, steps=40)
    again = Drive(server["tcp"], [task(1)], envs=1, steps=40)
    assert digest(first, 0) == digest(first, 2) == digest(again, 0)
    assert digest(first, 1) != digest(first, 0)
