"""The expert's parts, each against an independent statement of what it computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_clients.expert.following import follow_acceleration, stop_acceleration
from sim_clients.expert.lane_futures import LaneFutures
from sim_clients.expert.overlap import boxes_on_path
from sim_clients.expert.path import RouteCurve, path_ahead, speed_limits
from sim_clients.expert.pedals import pedal
from sim_clients.expert.rings import ring_lanes
from sim_clients.expert.stops import JunctionSpan, RouteStops
from sim_clients.geometry import overlaps
from sim_clients.scene import Control
from sim_clients.sumo.scene_map import read_map
from sim_clients.vehicle import VehicleModel
from tests.sim_clients.scenes import MAP, ROUTE, ego, line, quarter, route

place = st.floats(-6.0, 6.0)
angle = st.floats(-math.pi, math.pi)
extent = st.floats(0.2, 4.0)


@given(st.lists(st.tuples(place, place, angle, extent, extent), min_size=1, max_size=6), angle)
@settings(max_examples=60, deadline=None)
def test_overlaps_along_a_path_are_those_of_single_boxes(boxes, yaw):
    table = np.array(boxes)
    path = np.array([[0.0, 0.0, yaw], [1.0, 0.5, yaw + 0.3], [2.0, 1.5, yaw + 0.6]])
    found = boxes_on_path(path, (2.4, 1.0), table[:, :3], table[:, 3:])
    for sample, pose in enumerate(path):
        one = overlaps((pose[0], pose[1], pose[2]), (2.4, 1.0), table[:, :3], table[:, 3:])
        assert np.array_equal(found[:, sample], one)


@given(st.floats(0.0, 12.0), st.floats(-7.0, 3.0))
def test_the_pedal_gives_the_acceleration(speed, wanted):
    model = VehicleModel()
    action = pedal(wanted, speed, model)
    control = Control(max(action, 0.0), 0.0, max(-action, 0.0))
    if abs(action) < 1.0:
        assert model.acceleration(speed, control) == pytest.approx(wanted, abs=1e-6)


def test_speed_limits_leave_room_to_brake_for_a_bend():
    points = np.concatenate([np.column_stack([np.arange(100.0), np.zeros(100)]), quarter(100, 0, 10, 17)])
    points = np.concatenate([points, line(*((110.0, 11.0 + i) for i in range(40)))])
    curve = RouteCurve(route(points))
    path = path_ahead(curve, ego(85.0), 85.0, 0.0, 30.0)
    limits = speed_limits(path, 6.0, 2.0, 2.0)
    bend = math.sqrt(2.0 * 10.0)
    assert limits[20] == pytest.approx(bend, rel=0.1)
    assert limits[0] == pytest.approx(6.0, abs=0.01)
    assert np.all(np.diff(limits[:15] ** 2) / 2 >= -2.01)


@pytest.mark.parametrize("speed", [1.0, 4.0, 6.0, 8.0])
def test_a_stop_is_reached_and_not_passed(speed):
    position, step = 0.0, 0.1
    for _ in range(300):
        change = stop_acceleration(speed, 25.0 - position, deceleration=2.0, hard_deceleration=6.0)
        after = max(0.0, min(8.0, speed + change * step))
        position += 0.5 * (speed + after) * step
        speed = after
    assert speed == 0.0
    assert 24.0 < position < 25.1


def test_following_asks_for_less_the_nearer_and_the_slower_the_vehicle_ahead():
    def wanted(gap, lead):
        return follow_acceleration(
            5.0, gap, lead, standstill_gap=2.0, headway=1.0, acceleration=2.0, deceleration=2.0,
            hard_deceleration=6.0,
        )  # fmt: skip

    assert [wanted(gap, 5.0) for gap in (30, 15, 8, 4)] == sorted(
        (wanted(gap, 5.0) for gap in (4, 8, 15, 30)), reverse=True
    )
    assert wanted(12.0, 5.0) > wanted(12.0, 3.0) > wanted(12.0, 0.0) >= -6.0


def test_the_route_knows_its_stops():
    stops = RouteStops(MAP, ROUTE)
    assert [(line.index, line.distance_m) for line in stops.lines] == [(0, pytest.approx(98.0))]
    assert [(sign.id, sign.distance_m) for sign in stops.signs] == [("sign", pytest.approx(200.0))]
    assert stops.junctions == [JunctionSpan(100.0, 120.0)]
    assert stops.next_junction(119.0) == JunctionSpan(100.0, 120.0)
    assert stops.next_junction(121.0) is None


def test_a_lane_has_a_future_for_each_branch():
    futures = LaneFutures(MAP).of("west")
    ends = sorted(tuple(path.points[-1].round().tolist()) for path in futures)
    assert ends == [(115.0, 100.0), (300.0, 0.0)]
    assert {path.entry_m for path in futures} == {100.0}
    pose = futures[0].at(np.array([40.0, 50.5]), 0.5)
    assert pose == pytest.approx(np.array([[40.0, 0.5, 0.0], [50.5, 0.5, 0.0]]), abs=1e-6)


@pytest.mark.parametrize("town", ["alder", "birch"])
def test_the_roundabout_is_found_and_nothing_else(town):
    scene_map = read_map(town)
    rings = ring_lanes(scene_map)
    middles = np.array([scene_map.lanes[lane].centre.mean(axis=0) for lane in sorted(rings)])
    centre = middles.mean(axis=0)
    assert len(rings) >= 6
    assert np.hypot(*(middles - centre).T).max() < 35.0
