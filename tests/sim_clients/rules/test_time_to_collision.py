"""Time to collision on scripted scenes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim_clients.route_tracker import RouteTracker
from sim_clients.rules.time_to_collision import time_to_collision
from sim_clients.scene import Actors
from tests.sim_clients.expert.world import moving
from tests.sim_clients.scenes import actors, ego, quarter, route, scene

WALKER = (0.25, 0.25)


def ttc(car, horizon_s=5.0, **changes):
    world = scene(car, **changes)
    return time_to_collision(world, RouteTracker(world.route).update(world.ego), horizon_s)


def test_nobody_there():
    assert ttc(ego(10.0, speed=6.0)) == math.inf


def test_a_standing_car_ahead_is_met_when_the_gap_is_driven():
    """From centre to centre 20 m, half lengths 2.45 and 2.3 m: 15.25 m at 6 m/s."""
    assert ttc(ego(10.0, speed=6.0), vehicles=actors((30.0, 0.0, 0.0))) == pytest.approx(2.6)
    assert ttc(ego(10.0, speed=6.0), 2.0, vehicles=actors((30.0, 0.0, 0.0))) == math.inf
    assert ttc(ego(10.0, speed=6.0), statics=actors((30.0, 0.0, 0.0))) == pytest.approx(2.6)


def test_only_the_difference_of_speeds_counts():
    assert ttc(ego(10.0, speed=6.0), vehicles=moving((30.0, 0.0, 0.0, 6.0))) == math.inf
    assert ttc(ego(10.0, speed=6.0), vehicles=moving((30.0, 0.0, math.pi, 6.0))) == pytest.approx(1.3)


def test_the_next_lane_is_no_risk_and_a_walker_that_steps_out_is():
    assert ttc(ego(10.0, speed=6.0), vehicles=actors((30.0, 3.5, 0.0))) == math.inf
    # At (25, 3) with 1.5 m/s towards the lane: on the ego's path after some 1.2 s, when the ego is there after 2.
    stepping = moving((25.0, 3.0, -math.pi / 2, 1.5), half=WALKER)
    assert ttc(ego(10.0, speed=6.0), walkers=stepping) == pytest.approx(2.1, abs=0.11)
    assert ttc(ego(10.0, speed=6.0), walkers=moving((25.0, 3.0, math.pi / 2, 1.5), half=WALKER)) == math.inf


def test_whoever_comes_from_behind_does_not_count():
    assert ttc(ego(30.0, speed=2.0), vehicles=moving((20.0, 0.0, 0.0, 6.0))) == math.inf
    # A standing ego that a car drives into from ahead is at risk.
    assert ttc(ego(30.0), vehicles=moving((45.0, 0.0, math.pi, 6.0))) == pytest.approx(1.8)


def test_an_overlap_is_now():
    assert ttc(ego(10.0, speed=1.0), vehicles=actors((12.0, 0.0, 0.0))) == 0.0


def test_the_ego_goes_along_its_route_and_off_it_straight_on():
    bend = np.concatenate([np.column_stack([np.arange(20.0), np.zeros(20)]), quarter(20, 0, 12, 20)])
    world = {"route": route(bend), "vehicles": actors((32.0, 12.0, math.pi / 2))}
    assert ttc(ego(15.0, speed=6.0), **world) < 4.0  # round the bend
    assert ttc(ego(15.0, speed=6.0), vehicles=actors((32.0, 12.0, math.pi / 2))) == math.inf
    assert ttc(ego(15.0, speed=6.0), route=route(bend), vehicles=actors((36.0, 0.0, 0.0))) == math.inf
    assert ttc(ego(15.0, -6.0, speed=6.0), route=route(bend), vehicles=actors((36.0, -6.0, 0.0))) < 4.0


def test_beyond_the_end_of_the_route_it_goes_straight_on():
    assert ttc(ego(295.0, speed=6.0), vehicles=actors((310.0, 0.0, 0.0))) == pytest.approx(1.8, abs=0.11)


def test_far_actors_are_not_looked_at():
    far = Actors(
        np.arange(200, dtype=np.int64),
        np.column_stack([np.linspace(200, 290, 200), np.zeros(200), np.zeros(200)]),
        np.full((200, 2), 1.0),
        np.zeros((200, 2)),
    )
    assert ttc(ego(10.0, speed=6.0), vehicles=far) == math.inf
