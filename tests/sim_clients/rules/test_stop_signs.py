"""The stop sign of the small map: its box runs from x = 198.5 to 201.5 on lane "east"."""

import math

import numpy as np
import pytest

from sim_clients.rules.stop_signs import StopSignMonitor
from tests.sim_clients.scenes import MAP, ego, scene


def drive(places, speed=5.0, lane="east", standing=()):
    """States along places x; the ego stands at those in ``standing``."""
    monitor = StopSignMonitor(MAP)
    return [
        monitor.update(scene(ego(float(x), speed=0.0 if x in standing else speed)), int(x), lane)
        for x in places
    ]


def test_a_sign_becomes_the_target_within_the_look_ahead():
    far, near = drive([176.0, 177.0])
    assert far == (None, False, math.inf, False)
    assert near.target is MAP.stop_signs[0]
    assert near.distance_m == pytest.approx(23.0)


def test_a_sign_across_the_route_counts_from_another_lane():
    # 20 route points ahead of x = 179 reach into the box, which begins at 198.5
    assert drive([178.0], lane="elsewhere")[0].target is None
    assert drive([179.0], lane="elsewhere")[0].target is not None


def test_driving_through_is_running_it_once_the_centre_has_left_the_box():
    places = np.arange(190.0, 230.0, 0.5)
    states = drive(places)
    assert [float(x) for x, state in zip(places, states, strict=True) if state.ran] == [202.0]
    assert states[-1].target is None


def test_standing_in_the_box_obeys():
    places = np.arange(190.0, 230.0, 1.0)
    states = drive(places, standing=(198.0,))
    assert not any(state.ran for state in states)
    assert [state.satisfied for state in states[:12]] == [False] * 8 + [True] * 4


def test_standing_too_early_does_not():
    states = drive(np.arange(190.0, 230.0, 1.0), standing=(192.0,))
    assert sum(state.ran for state in states) == 1


def test_standing_where_the_reward_asks_for_it_obeys():
    assert drive([194.4], standing=(194.4,))[0].satisfied is False
    assert drive([194.6], standing=(194.6,))[0].satisfied is True


def test_at_the_sign_within_ten_metres_until_it_is_obeyed():
    states = drive([189.0, 190.5, 198.0, 199.0], standing=(198.0,))
    assert [state.active is None for state in states] == [False, False, True, True]


def test_turning_off_before_the_box_is_not_running_it():
    monitor = StopSignMonitor(MAP)
    assert monitor.update(scene(ego(190.0, speed=5.0)), 190, "east").target is not None
    off = scene(ego(190.0, 15.0, 1.8, 5.0))
    assert monitor.update(off, 190, None) == (None, False, math.inf, False)


def test_the_other_direction_is_not_concerned():
    assert StopSignMonitor(MAP).update(scene(ego(203.0, 3.0, math.pi)), 0, "east").target is None
