"""Which rows want feedback, and that only those cost a picture."""

from __future__ import annotations

import numpy as np
import pytest

from codriver.codecs import png
from codriver.driving import PICTURE_SIZE_PX, observation_spec
from codriver.spec import check_observation_spec
from codriver.v1 import feedback_pb2
from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.feedback_rule import FeedbackMarker, MarkingRule, changed_share
from sim_clients.drive.messages import join_rows
from sim_clients.drive.worker import Worker
from sim_clients.rules.monitor import RuleMonitor
from sim_clients.simulator import EpisodeTask
from tests.sim_clients.scenes import MAP, actors, ego, scene

SHAPE = (PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3)
BLACK = np.zeros(SHAPE, np.uint8)
STEPS = 9


def marks(rule, scenes, pictures=None):
    """(drawn, marked) of a drive through scenes."""
    marker, monitor = FeedbackMarker(rule), RuleMonitor(MAP)
    monitor.reset(scenes[0])
    found = []
    for index, world in enumerate(scenes):
        drawn = marker.needs_picture(world, monitor.update(world))
        picture = (BLACK if pictures is None else pictures[index]) if drawn else None
        found.append((drawn, marker.mark(picture, last=False)))
    return found


def marked(*arguments):
    return [mark for _, mark in marks(*arguments)]


def test_every_kth_step_from_step_0():
    rule = MarkingRule(every_k_steps=3)
    assert marked(rule, [scene()] * 7) == [True, False, False, True, False, False, True]
    assert marks(rule, [scene()] * 2) == [(True, True), (False, False)]  # no picture is drawn in vain


def test_an_episode_counts_from_its_own_step_0():
    marker, monitor = FeedbackMarker(MarkingRule(every_k_steps=5)), RuleMonitor(MAP)
    monitor.reset(scene())
    report = monitor.update(scene())
    assert [marker.needs_picture(scene(), report) for _ in range(3)] == [True, False, False]
    marker.reset()
    assert [marker.needs_picture(scene(), report) for _ in range(2)] == [True, False]


def test_risky_scenes():
    calm = scene(ego(10.0, speed=6.0))
    near = scene(ego(10.0, speed=6.0), vehicles=actors((30.0, 0.0, 0.0)))  # 2.6 s
    assert marked(MarkingRule(risky_ttc_s=3.0), [calm, near, calm]) == [False, True, False]
    assert marked(MarkingRule(risky_ttc_s=2.6), [calm, near]) == [False, False]
    assert marked(MarkingRule(every_k_steps=2, risky_ttc_s=3.0), [calm, near, calm]) == [True, True, True]


def test_changed_pictures():
    half = BLACK.copy()
    half[: PICTURE_SIZE_PX // 2] = 9
    assert changed_share(BLACK, half) == 0.5
    pictures = [BLACK, BLACK, half, half, BLACK]
    assert marked(MarkingRule(changed_share=0.5), [scene()] * 5, pictures) == [True, False, True, False, True]
    assert marked(MarkingRule(changed_share=0.6), [scene()] * 5, pictures) == [True] + [False] * 4
    assert all(drawn for drawn, _ in marks(MarkingRule(changed_share=0.6), [scene()] * 3))


def test_change_is_measured_against_the_last_marked_picture():
    """Small steps add up."""
    pictures = [BLACK.copy() for _ in range(5)]
    for index, picture in enumerate(pictures):
        picture[: 40 * index] = 1
    rule = MarkingRule(changed_share=0.4)
    assert marked(rule, [scene()] * 5, pictures) == [True, False, True, False, True]


def test_the_last_observation_is_never_marked():
    marker, monitor = FeedbackMarker(MarkingRule(every_k_steps=1)), RuleMonitor(MAP)
    monitor.reset(scene())
    assert marker.needs_picture(scene(), monitor.update(scene()))
    assert not marker.mark(BLACK, last=True)


def test_no_condition_marks_nothing():
    assert not MarkingRule().marks_any
    assert marked(MarkingRule(), [scene()] * 3) == [False] * 3


def test_a_rule_survives_the_wire_and_the_pipe():
    rule = MarkingRule(4, 2.5, 0.25)
    message = feedback_pb2.FeedbackRule.FromString(rule.to_message().SerializeToString())
    assert MarkingRule.from_message(message) == rule
    config = WorkerConfig(1, "sumo", "acorn", marking=rule)
    assert WorkerConfig.from_json(config.to_json()) == config


@pytest.fixture(scope="module")
def rows():
    """Rows of a real worker in a small town."""
    pytest.importorskip("libsumo")
    config = WorkerConfig(0, "sumo", "acorn", marking=MarkingRule(every_k_steps=4), max_steps=STEPS - 1)
    worker = Worker(config)
    try:
        task = EpisodeTask(1, 1, vehicles=3, walkers=2, min_route_m=50.0, min_signals=0)
        rows = [worker.begin(task, 0)]
        while not rows[-1].last:
            rows.append(worker.advance(np.array([0.5, 0.0], np.float32)))
        return rows
    finally:
        worker.close()


def test_marked_rows_carry_picture_and_context(rows):
    assert [list(row.batch.wants_feedback) for row in rows] == [
        [step in (0, 4)] for step in range(STEPS)
    ]  # step 8 is the last one
    for row in rows:
        (wanted,) = row.batch.wants_feedback
        picture = row.batch.tensors[2]
        assert list(picture.rows) == ([0] if wanted else [])
        assert len(row.batch.feedback_context) == int(wanted)
        if wanted:
            assert png.decode(picture.data, SHAPE).any()
            context = row.batch.feedback_context[0]
            assert context.forward_speed_mps == pytest.approx(row.info["speed_mps"], abs=1e-5)
            assert 1 <= context.command <= 6 and context.target_x_m > 10.0
        else:
            assert picture.data == b""


def test_joined_rows_name_the_marked_ones(rows):
    joined = join_rows([rows[1], rows[4], rows[5], rows[0]])
    assert list(joined.wants_feedback) == [False, True, False, True]
    assert list(joined.tensors[2].rows) == [1, 3]
    assert [round(c.forward_speed_mps, 4) for c in joined.feedback_context] == [
        round(rows[n].info["speed_mps"], 4) for n in (4, 0)
    ]
    check_observation_spec(observation_spec(picture=True))
