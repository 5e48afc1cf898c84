"""Oriented boxes against shapely-free brute force, segments against hand-made cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_clients.geometry import box_corners, inside_box, overlaps, segments_cross, to_frame, wrap_angle

coordinate = st.floats(-8.0, 8.0)
angle = st.floats(-7.0, 7.0)
extent = st.floats(0.2, 4.0)
box = st.tuples(coordinate, coordinate, angle, extent, extent)


def clip_area(subject, clip):
    """Area of the intersection of two convex counter-clockwise polygons (Sutherland-Hodgman)."""
    points = [tuple(p) for p in subject]
    for i in range(len(clip)):
        (ax, ay), (bx, by) = clip[i], clip[(i + 1) % len(clip)]

        def side(p, ax=ax, ay=ay, bx=bx, by=by):
            return (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax)

        kept = []
        for j, p in enumerate(points):
            q = points[j - 1]
            sp, sq = side(p), side(q)
            if (sp >= 0) != (sq >= 0):
                t = sq / (sq - sp)
                kept.append((q[0] + t * (p[0] - q[0]), q[1] + t * (p[1] - q[1])))
            if sp >= 0:
                kept.append(p)
        points = kept
        if not points:
            return 0.0
    pairs = zip(points, points[1:] + points[:1], strict=True)
    return 0.5 * sum(p[0] * q[1] - q[0] * p[1] for p, q in pairs)


@settings(max_examples=300, deadline=None)
@given(box, st.lists(box, min_size=1, max_size=5))
def test_overlap_is_a_positive_area_in_common(one, others):
    rows = np.array(others)
    found = overlaps(one[:3], one[3:], rows[:, :3], rows[:, 3:])
    mine = box_corners(np.array([one[:3]]), np.array([one[3:]]))[0]
    for hit, corners in zip(found, box_corners(rows[:, :3], rows[:, 3:]), strict=True):
        area = clip_area(mine, corners)
        if area > 1e-6:
            assert hit
        if hit:
            assert area > 0.0


def test_overlap_of_a_diamond_beside_a_square_needs_the_diamonds_axis():
    square = (0.0, 0.0, 0.0), (1.0, 1.0)
    far = np.array([[1.8, 1.8, math.pi / 4]])
    near = np.array([[1.6, 1.6, math.pi / 4]])
    half = np.array([[1.0, 1.0]])
    # the corner (1, 1) is 0.8 * sqrt(2) = 1.13 m from the centre at 1.8, 0.85 m from the one at 1.6
    assert overlaps(*square, far, half).tolist() == [False]
    assert overlaps(*square, near, half).tolist() == [True]


def test_touching_boxes_do_not_overlap():
    assert overlaps((0.0, 0.0, 0.0), (1.0, 1.0), np.array([[2.0, 0.0, 0.0]]), np.ones((1, 2))).tolist() == [
        False
    ]


def test_overlap_with_nobody():
    assert overlaps((0.0, 0.0, 0.0), (1.0, 1.0), np.zeros((0, 3)), np.zeros((0, 2))).shape == (0,)


def test_corners_of_a_turned_box():
    corners = box_corners(np.array([[10.0, 5.0, math.pi / 2]]), np.array([[2.0, 1.0]]))[0]
    np.testing.assert_allclose(corners, [[9, 7], [9, 3], [11, 3], [11, 7]], atol=1e-12)


def test_frame_of_a_pose_that_heads_north():
    local = to_frame(np.array([[10.0, 8.0], [9.0, 5.0]]), 10.0, 5.0, math.pi / 2)
    np.testing.assert_allclose(local, [[3, 0], [0, 1]], atol=1e-12)


@given(angle)
def test_wrapped_angles_point_the_same_way(value):
    wrapped = wrap_angle(value)
    assert -math.pi <= wrapped < math.pi
    assert math.cos(wrapped - value) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("c", "d", "crosses"),
    [((1, -1), (1, 1), True), ((3, -1), (3, 1), False), ((1, 0.1), (1, 1), False), ((0, 1), (2, 1), False)],
)
def test_segments(c, d, crosses):
    assert segments_cross((0, 0), (2, 0), c, d) is crosses


def test_inside_a_turned_box():
    pose, half = (0.0, 0.0, math.pi / 2), (3.0, 1.0)
    assert inside_box(0.9, 2.9, pose, half)
    assert not inside_box(2.9, 0.9, pose, half)
