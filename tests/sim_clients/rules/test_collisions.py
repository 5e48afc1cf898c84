"""New collisions, each once."""

from dataclasses import replace

import pytest

from sim_clients.rules.collisions import CollisionMonitor, HitKind
from tests.sim_clients.scenes import actors, ego, scene


@pytest.mark.parametrize("kind", list(HitKind))
def test_every_kind_of_actor_can_be_hit(kind):
    column = {"vehicle": "vehicles", "walker": "walkers", "static": "statics"}[kind.value]
    hits = CollisionMonitor().update(scene(ego(10.0, speed=5.0), **{column: actors((14.0, 1.0, 0.5))}))
    assert hits == ((kind, 1, True),)


def test_a_near_miss_is_none():
    # half widths 1.05 and 0.95: side by side they touch at 2.0 m
    assert CollisionMonitor().update(scene(ego(10.0), vehicles=actors((10.0, 2.01, 0.0)))) == ()
    assert len(CollisionMonitor().update(scene(ego(10.0), vehicles=actors((10.0, 1.99, 0.0))))) == 1


def test_the_same_actor_counts_again_after_five_seconds():
    monitor = CollisionMonitor()

    def hit(x, time_s):
        state = scene(ego(x, speed=5.0), vehicles=actors((x + 4.0, 0.0, 0.0)), time_s=time_s)
        return len(monitor.update(state))

    assert [hit(10.0, 0.0), hit(10.5, 0.1), hit(20.0, 4.9), hit(30.0, 5.2), hit(31.0, 10.3)] == [
        1,
        0,
        0,
        1,
        0,
    ]


def test_another_actor_counts_away_from_the_first_place():
    monitor = CollisionMonitor()
    one, other = actors((14.0, 0.0, 0.0)), actors((16.5, 0.0, 0.0), (18.0, 0.0, 0.0), first_id=2)
    assert len(monitor.update(scene(ego(10.0, speed=5.0), vehicles=one))) == 1
    assert monitor.update(scene(ego(12.9, speed=5.0), vehicles=other, time_s=0.5)) == ()
    hits = monitor.update(scene(ego(13.5, speed=5.0), vehicles=other, time_s=0.6))
    assert [hit.actor_id for hit in hits] == [2]  # the second of the pair is at the same place


def test_who_stands_or_is_hit_from_behind_is_not_at_fault():
    front, behind = actors((14.0, 0.0, 0.0)), actors((6.0, 0.0, 0.0))
    assert CollisionMonitor().update(scene(ego(10.0, speed=0.0), vehicles=front))[0].at_fault is False
    assert CollisionMonitor().update(scene(ego(10.0, speed=5.0), vehicles=behind))[0].at_fault is False
    assert CollisionMonitor().update(scene(ego(10.0, speed=5.0), vehicles=front))[0].at_fault is True


def test_what_the_simulator_reports_counts_too():
    state = scene(ego(10.0, speed=5.0), walkers=actors((30.0, 0.0, 0.0), first_id=7))
    assert CollisionMonitor().update(replace(state, impulse_actor_ids=(7,)))[0].kind is HitKind.WALKER
    assert CollisionMonitor().update(replace(state, impulse_actor_ids=(99,)))[0].kind is HitKind.STATIC


def test_a_walker_may_have_the_id_of_a_vehicle():
    monitor = CollisionMonitor()
    assert len(monitor.update(scene(ego(10.0, speed=5.0), vehicles=actors((14.0, 0.0, 0.0))))) == 1
    hits = monitor.update(scene(ego(20.0, speed=5.0), walkers=actors((22.0, 0.0, 0.0)), time_s=2.0))
    assert [hit.kind for hit in hits] == [HitKind.WALKER]
