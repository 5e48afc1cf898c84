"""All rules together, along drives on the small map."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sim_clients.rules.monitor import RuleMonitor
from sim_clients.scene import LightColour
from tests.sim_clients.scenes import MAP, actors, ego, scene, straight_route


def reports(scenes):
    monitor = RuleMonitor(MAP)
    monitor.reset(scenes[0])
    return [monitor.update(state) for state in scenes]


def test_a_drive_over_red_and_past_the_stop_sign():
    red = np.array([LightColour.RED, LightColour.GREEN], np.uint8)
    seen = reports([scene(ego(float(x), speed=10.0), light_colours=red) for x in range(60, 230)])
    assert sum(report.ran_red for report in seen) == 1
    assert sum(report.ran_stop for report in seen) == 1
    assert [60 + i for i, report in enumerate(seen) if report.light][::17] == [82, 99]
    assert all(report.lane and not report.outside_lane and not report.wrong_lane for report in seen)


def test_the_light_is_seen_from_the_lane_beside_the_route():
    red_pass = np.array([LightColour.GREEN, LightColour.RED], np.uint8)
    report = reports([scene(ego(float(x), 3.5), light_colours=red_pass) for x in range(60, 90)])[-1]
    assert (report.light.index, report.light.colour) == (1, LightColour.RED)


def test_outside_lane_is_more_than_half_a_lane_and_1_3_metres():
    inside, outside = reports([scene(ego(50.0, -3.04)), scene(ego(50.0, -3.06))])
    assert (inside.outside_lane, outside.outside_lane) == (False, True)


def test_far_from_every_lane():
    assert reports([scene(ego(50.0, -60.0))])[0].outside_lane


def test_wrong_lane_runs_at_more_than_120_degrees():
    with_traffic, against = scene(ego(50.0, 7.0, math.pi)), scene(ego(50.0, 7.0, 0.0))
    slanted = scene(ego(50.0, 7.0, math.pi - math.radians(119.0)))
    assert [report.wrong_lane for report in reports([with_traffic, against, slanted])] == [False, True, False]


def test_no_wrong_lane_inside_a_junction():
    assert not reports([scene(ego(110.0, 0.0, math.pi))])[0].wrong_lane


def test_hazards_and_hits_are_reported():
    state = scene(
        ego(50.0, speed=3.0),
        vehicles=actors((54.0, 0.0, 0.0)),
        walkers=actors((55.0, 0.0, 0.0), half=(0.3, 0.3), first_id=9),
        walker_on_pavement=np.zeros(1, bool),
    )
    report = reports([state])[0]
    assert report.vehicle_ahead.distance_m == pytest.approx(4.0)
    assert report.walker_ahead.distance_m == pytest.approx(5.0)
    assert [hit.actor_id for hit in report.hits] == [1]


def test_a_route_that_grows_is_followed_on():
    short = straight_route(100)
    monitor = RuleMonitor(MAP)
    monitor.reset(scene(route=short))
    for x in range(10, 90, 5):
        monitor.update(scene(ego(float(x)), route=short))
    assert monitor.update(scene(ego(91.0), route=straight_route(300))).progress.share == pytest.approx(
        91 / 300
    )


def test_reset_forgets_the_episode_before():
    state = scene(ego(50.0, speed=3.0), vehicles=actors((54.0, 0.0, 0.0)))
    monitor = RuleMonitor(MAP)
    counts = []
    for _ in range(2):
        monitor.reset(state)
        counts.append(len(monitor.update(state).hits))
    assert counts == [1, 1]
    assert monitor.update(replace(state, time_s=0.1)).hits == ()


def test_update_before_reset_says_what_to_do():
    with pytest.raises(RuntimeError, match="reset"):
        RuleMonitor(MAP).update(scene())
