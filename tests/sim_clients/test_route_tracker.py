"""Progress along straight, crossing and growing routes."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from sim_clients.route_tracker import RouteTracker
from sim_clients.scene import Command
from tests.sim_clients.scenes import ego, quarter, route, straight_route


def drive(tracker, points, yaw=0.0):
    return [tracker.update(ego(float(x), float(y), yaw)) for x, y in points]


def test_place_offset_and_heading():
    tracker = RouteTracker(straight_route())
    progress = drive(tracker, [(x, 0.7) for x in range(0, 30, 2)], yaw=-0.2)[-1]
    assert progress.index == 28
    assert progress.distance_m == pytest.approx(28.0)
    assert progress.lateral_m == pytest.approx(0.7)
    assert progress.heading_error_rad == pytest.approx(-0.2)
    assert progress.share == pytest.approx(28 / 300)
    assert progress.command is Command.LANE_FOLLOW
    assert not progress.completed


def test_between_points_distance_is_interpolated():
    progress = RouteTracker(straight_route()).update(ego(7.25, -1.0))
    assert (progress.index, progress.distance_m) == (7, pytest.approx(7.25))
    assert progress.lateral_m == pytest.approx(-1.0)


def test_progress_never_decreases():
    tracker = RouteTracker(straight_route())
    ahead = drive(tracker, [(x, 0.0) for x in (0, 5, 10)])[-1]
    back = drive(tracker, [(9, 0.0), (8, 0.0)])[-1]
    assert (back.index, back.distance_m) == (ahead.index, ahead.distance_m)
    assert back.lateral_m == pytest.approx(0.0)


def test_before_the_start_only_the_offset_across_counts():
    progress = RouteTracker(straight_route()).update(ego(-2.0, 0.3))
    assert (progress.index, progress.lateral_m) == (0, pytest.approx(0.3))


def figure_eight():
    """50 m east, a loop to the left of radius 10 back over the way come, and on to the south."""
    east = np.stack([np.arange(0.0, 50.0), np.zeros(50)], axis=1)
    angles = np.arange(0.0, 1.5 * math.pi, 0.1)
    loop = np.stack([50 + 10 * np.sin(angles), 10 - 10 * np.cos(angles)], axis=1)
    south = np.stack([np.full(40, 40.0), 10 - np.arange(0.5, 40.5)], axis=1)
    return np.concatenate([east, loop, south])


def test_a_route_that_crosses_itself_is_followed_in_order():
    points = figure_eight()
    tracker = RouteTracker(route(points))
    yaws = route(points).yaws_rad
    seen = []
    for i in range(len(points)):
        found = tracker.update(ego(float(points[i, 0]), float(points[i, 1]), float(yaws[i])))
        seen.append(found.index)
        assert abs(found.lateral_m) < 0.1
    assert seen[45] in (44, 45)  # the crossing at (40, 0) lies behind here and ahead again later
    assert all(0 <= b - a <= 2 for a, b in pairwise(seen))
    assert found.completed


def test_completion_needs_share_and_goal_and_stays():
    tracker = RouteTracker(straight_route(300))
    drive(tracker, [(x, 0.0) for x in range(0, 297, 3)])
    assert not tracker.update(ego(297.0)).completed  # 99 % exactly is not more than 99 %
    assert tracker.update(ego(297.2)).completed
    assert tracker.update(ego(280.0, 30.0)).completed


def test_completion_needs_the_goal_within_ten_metres():
    tracker = RouteTracker(straight_route(2000))
    drive(tracker, [(x, 0.0) for x in range(0, 1985, 3)])
    far = tracker.update(ego(1985.0))
    assert far.share > 0.99 and not far.completed
    assert tracker.update(ego(1990.5)).completed


def test_a_longer_route_goes_on_where_the_shorter_was():
    tracker = RouteTracker(straight_route(100))
    drive(tracker, [(x, 0.0) for x in range(0, 100, 3)])
    tracker.extend(straight_route(300))
    progress = tracker.update(ego(102.0))
    assert (progress.index, progress.completed) == (102, False)
    assert progress.share == pytest.approx(102 / 300)


def test_another_route_is_refused():
    tracker = RouteTracker(straight_route(100))
    with pytest.raises(ValueError, match="does not begin with"):
        tracker.extend(route(straight_route(200).points + 1.0))
    with pytest.raises(ValueError, match="at least two points"):
        RouteTracker(replace(straight_route(1), points=np.zeros((1, 2))))


def test_leaving_at_a_turn_shows_as_offset():
    turn = np.concatenate(
        [np.stack([np.arange(0.0, 20.0), np.zeros(20)], axis=1), quarter(20.0, 0.0, 8.0, 13)]
    )
    north = np.stack([np.full(30, 28.0), np.arange(9.0, 39.0)], axis=1)
    tracker = RouteTracker(route(np.concatenate([turn, north])))
    offsets = [tracker.update(ego(float(x), 0.0)).lateral_m for x in range(40)]
    assert offsets[10] == pytest.approx(0.0)
    assert offsets[39] < -8.0  # straight on instead of left: the ego ends up right of the route
    assert all(b <= a + 1e-9 for a, b in pairwise(offsets[20:]))
