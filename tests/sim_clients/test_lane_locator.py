"""Lanes of poses on the small map."""

import math

import numpy as np
import pytest

from sim_clients.lane_locator import LaneLocator
from sim_clients.scene import SceneMap
from tests.sim_clients.scenes import MAP


@pytest.fixture(scope="module")
def locator() -> LaneLocator:
    return LaneLocator(MAP)


def test_position_on_a_lane(locator):
    found = locator.locate(60.0, -0.5, 0.1)
    assert found.lane_id == "west"
    assert found.s_m == pytest.approx(60.0)
    assert found.lateral_m == pytest.approx(-0.5)
    assert found.heading_error_rad == pytest.approx(0.1)


def test_left_of_the_lane_is_positive_whatever_its_direction(locator):
    found = locator.locate(50.0, 6.5, math.pi)
    assert (found.lane_id, found.s_m) == ("oncoming", pytest.approx(50.0))
    assert found.lateral_m == pytest.approx(0.5)
    assert found.heading_error_rad == pytest.approx(0.0)


def test_the_nearest_lane_may_run_the_other_way(locator):
    assert locator.locate(50.0, 6.0, 0.0).lane_id == "pass"
    assert locator.locate_any_direction(50.0, 6.0, 0.0).lane_id == "oncoming"


def test_the_heading_tells_lanes_apart_that_overlap(locator):
    # 5 m into the junction the left turn is 0.86 m beside the lane straight on
    assert locator.locate(105.0, 0.43, 0.0).lane_id == "cross"
    assert locator.locate(105.0, 0.43, 0.34).lane_id == "left"


def test_too_far_away(locator):
    assert locator.locate(50.0, -4.1, 0.0) is None
    assert locator.locate(50.0, -3.9, 0.0).lane_id == "west"
    assert locator.locate(-4.1, 0.0, 0.0) is None


def test_a_wide_search_looks_beyond_the_grid(locator):
    assert locator.locate(50.0, -40.0, 0.0) is None
    assert locator.locate(50.0, -40.0, 0.0, max_distance_m=50.0).lateral_m == pytest.approx(-40.0)


def test_the_grid_finds_what_a_search_of_everything_finds(locator):
    rng = np.random.default_rng(3)
    for _ in range(300):
        x, y, yaw = rng.uniform(-5, 305), rng.uniform(-8, 60), rng.uniform(-4, 4)
        near = locator.locate_any_direction(x, y, yaw, 6.0)
        everywhere = locator.locate_any_direction(x, y, yaw, 1000.0)
        if near is not None:
            assert near == everywhere


def test_a_map_without_lanes():
    empty = SceneMap("none", "", {}, (), (), (), (), (), ())
    assert LaneLocator(empty).locate(0.0, 0.0, 0.0) is None
    assert LaneLocator(empty).locate(0.0, 0.0, 0.0, 100.0) is None
