"""Coaching of a drive: real SUMO workers, and a server whose coaches answer by a script."""

from __future__ import annotations

import contextlib

import pytest

from codriver.errors import CodriverError
from sim_clients.drive.coaching import CoachingRequest
from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.feedback_rule import MarkingRule
from sim_clients.drive.loop import DriveLoop
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.session import open_drive
from sim_clients.simulator import EpisodeTask
from tests.sim_clients.drive.coached_server import NEVER, CoachedServer, timed_out

pytest.importorskip("libsumo")
VLM, CLIP = ("vlm", "vlm"), ("clip", "clip")


def tasks(count):
    return [
        EpisodeTask(seed, seed, vehicles=2, walkers=1, min_route_m=50.0, min_signals=0)
        for seed in range(count)
    ]


def drive(server, request, *, envs=1, episodes=1, steps=12, settled=None):
    """Drives; returns (episodes, coaching)."""
    ends = []
    with open_drive(server.address, envs, coaching=request, timeout_s=60) as session:
        session.coaching.on_settled = None if settled is None else settled.append
        configs = [
            WorkerConfig(env, "sumo", "acorn", max_steps=steps, marking=session.marking)
            for env in range(envs)
        ]
        with WorkerPool(configs) as pool:
            DriveLoop(
                pool, iter(tasks(episodes)), session, on_episode=ends.append, coaching=session.coaching
            ).run()
    return ends, session.coaching


def test_marked_rows_are_asked_about_and_only_those_carry_pictures(tmp_path):
    settled = []
    request = CoachingRequest((VLM, CLIP), MarkingRule(every_k_steps=4))
    with CoachedServer(tmp_path / "s") as server:
        ends, coaching = drive(server, request, episodes=2, settled=settled)
    assert [end.failure for end in ends] == [None, None]
    expected = [
        (0, episode, step) for episode in (0, 1) for step in (0, 4, 8)
    ]  # step 12 is the last observation
    assert server.marked == server.pictures == expected
    figures = coaching.figures()
    assert figures["coaches"]["vlm"]["asked"] == figures["coaches"]["clip"]["asked"] == 6
    assert (figures["unknown"], figures["duplicates"], figures["rows_held_back"]) == (0, 0, 0)
    assert figures["coaches"]["vlm"]["availability"] == 1.0
    answered = {(s.key.env, s.key.episode, s.key.step) for s in settled if s.key.coach == "vlm"}
    assert answered <= set(expected) and len(answered) >= 5  # the last one may still be on its way


def test_what_the_server_does_not_grant_is_not_asked(tmp_path):
    request = CoachingRequest((VLM, CLIP), MarkingRule(every_k_steps=4))
    with CoachedServer(tmp_path / "s", coaches=("clip",)) as server:
        _, coaching = drive(server, request)
        assert (coaching.coaches, coaching.refused) == (("clip",), ("vlm",))
        assert coaching.figures()["coaches"]["clip"]["asked"] == 3
    with CoachedServer(tmp_path / "t", coaches=()) as server:
        ends, coaching = drive(server, request)
        assert ends[0].failure is None and server.marked == server.pictures == []
        assert coaching.refused == ("vlm", "clip") and coaching.figures()["coaches"] == {}


def test_an_environment_that_is_owed_too_much_waits_and_others_go_on(tmp_path):
    request = CoachingRequest((VLM,), MarkingRule(every_k_steps=1), credits_per_env=2)
    with CoachedServer(tmp_path / "s", delay_of=lambda key: 0.4 * key.env) as server:
        ends, coaching = drive(server, request, envs=2, episodes=4, steps=20)
    assert [end.failure for end in ends] == [None] * 4
    assert server.most_owed[1] == 3  # one more than its credits: then it waits
    assert coaching.waits > 5
    alone = [list(batch.env) for batch in server.batches].count([0])
    assert alone >= 10  # environment 0 did not wait with it
    steps = [(batch.episode[r], batch.step[r]) for batch in server.batches for r in range(len(batch.env))]
    assert steps.count((0, 3)) == 2  # every row was sent once
    account = coaching.figures()["coaches"]["vlm"]
    assert account["values"] + account["pending"] == account["asked"] == 80


def test_all_wait_for_a_coach_that_only_times_out_and_the_drive_ends(tmp_path):
    request = CoachingRequest((VLM, CLIP), MarkingRule(every_k_steps=1), credits_per_env=1)
    with CoachedServer(tmp_path / "s", delay_of=lambda key: 0.1, answer=timed_out) as server:
        ends, coaching = drive(server, request, envs=2, episodes=2, steps=10)
    assert [end.failure for end in ends] == [None, None]
    assert max(server.most_owed.values()) <= 3  # one that it may be owed, and a row for two coaches
    account = coaching.figures()["coaches"]["vlm"]
    assert account["availability"] == 0.0 and account["unavailable"]["TIMED_OUT"] >= 18


def test_a_server_that_owes_for_ever_does_not_hold_the_drive_for_ever(tmp_path):
    request = CoachingRequest((VLM,), MarkingRule(every_k_steps=1), credits_per_env=1, give_up_s=0.3)
    with CoachedServer(tmp_path / "s", delay_of=lambda key: NEVER) as server:
        ends, coaching = drive(server, request, steps=6)
    assert ends[0].failure is None
    assert coaching.figures()["coaches"]["vlm"]["unavailable"]["TIMED_OUT"] >= 4


def test_a_lost_session_settles_what_was_owed(tmp_path):
    settled, request = [], CoachingRequest((VLM,), MarkingRule(every_k_steps=1))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(CoachedServer(tmp_path / "s", delay_of=lambda key: NEVER))
        session = stack.enter_context(open_drive(server.address, 1, coaching=request, timeout_s=60))
        session.coaching.on_settled = settled.append
        pool = stack.enter_context(WorkerPool([WorkerConfig(0, "sumo", "acorn", marking=session.marking)]))
        rows = []

        def step(step):
            rows.append(step)
            if len(rows) == 5:
                server._server.stop(0).wait()

        stack.enter_context(pytest.raises(CodriverError))
        DriveLoop(pool, iter(tasks(1)), session, on_step=step, coaching=session.coaching).run()
    assert {entry.reason for entry in settled} == {"RESTARTED"} and len(settled) in (5, 6)
    assert session.coaching.ledger.pending == 0
