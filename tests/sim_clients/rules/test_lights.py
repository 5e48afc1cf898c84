"""The light ahead and red lights run, on the crossing of the small map (lines at x = 98, y = 0 and y = 3.5)."""

import math

import numpy as np
import pytest

from sim_clients.rules.lights import RedLightMonitor, StopLines, light_ahead
from sim_clients.scene import LightColour
from tests.sim_clients.scenes import MAP, ego, scene

LINES = StopLines(MAP)
RED_GREEN = np.array([LightColour.RED, LightColour.GREEN], np.uint8)


def lit(x, y=0.0, yaw=0.0, colours=RED_GREEN, **changes):
    return scene(ego(x, y, yaw), light_colours=colours, light_remaining=np.array([0.25, 0.75]), **changes)


def test_light_of_the_own_lane():
    found = light_ahead(lit(85.0), LINES, "west", ())
    assert (found.index, found.colour) == (0, LightColour.RED)
    assert found.distance_m == pytest.approx(13.0)
    assert found.remaining == pytest.approx(0.25)


def test_search_begins_behind_the_centre():
    # 0.8 * 2.45 = 1.96 m behind the centre: 18 m from there reach 16.04 m from the centre
    assert light_ahead(lit(98.0 - 16.03), LINES, "west", ()) is not None
    assert light_ahead(lit(98.0 - 16.05), LINES, "west", ()) is None
    # and the line is ahead until that point is over it
    assert light_ahead(lit(98.0 + 1.95), LINES, "west", ()).distance_m == pytest.approx(1.95)
    assert light_ahead(lit(98.0 + 1.97), LINES, "west", ()) is None


def test_the_lane_under_the_ego_goes_before_the_route():
    assert light_ahead(lit(85.0, 3.5), LINES, "pass", {"west"}).index == 1
    assert light_ahead(lit(85.0, 3.5), LINES, None, {"west"}).index == 0
    assert light_ahead(lit(85.0, 3.5), LINES, "elsewhere", {"elsewhere"}) is None


def test_lights_of_the_other_direction_do_not_hold():
    assert light_ahead(lit(85.0, 0.0, math.pi), LINES, "west", {"west"}) is None


def run(positions, lane="west", colours=RED_GREEN, y=0.0):
    monitor = RedLightMonitor(LINES)
    return [monitor.update(lit(x, y, colours=colours), lane, ()) for x in positions]


def test_running_a_red_light_counts_once_when_the_tail_is_over_the_line():
    positions = np.arange(95.0, 104.0, 0.5)
    ran = run(positions)
    # the near end of the tail segment, 1.96 m behind the centre, reaches x = 98 at 99.96
    assert [float(x) for x, hit in zip(positions, ran, strict=True) if hit] == [100.0]


def test_no_line_is_jumped_over_at_speed():
    assert sum(run(np.arange(90.0, 110.0, 3.0))) == 1
    assert sum(run([99.9, 103.6])) == 1


def test_a_jump_to_elsewhere_is_no_driving():
    assert sum(run([90.0, 120.0])) == 0


@pytest.mark.parametrize("colour", [LightColour.GREEN, LightColour.YELLOW, LightColour.NONE])
def test_other_colours_may_be_crossed(colour):
    colours = np.array([colour, LightColour.RED], np.uint8)
    assert sum(run(np.arange(95.0, 104.0, 0.5), colours=colours)) == 0


def test_the_light_of_the_lane_beside_does_not_count():
    assert sum(run(np.arange(95.0, 104.0, 0.5), lane="pass", y=3.5)) == 0


def test_a_line_counts_again_on_the_next_passing():
    monitor = RedLightMonitor(LINES)
    first = [monitor.update(lit(x), "west", ()) for x in np.arange(95.0, 140.0, 1.0)]
    again = [monitor.update(lit(x), "west", ()) for x in np.arange(50.0, 105.0, 1.0)]
    assert (sum(first), sum(again)) == (1, 1)


def test_the_lanes_of_the_route_count_too():
    monitor = RedLightMonitor(LINES)
    assert sum(monitor.update(lit(x), None, {"west"}) for x in np.arange(95.0, 104.0, 0.5)) == 1
