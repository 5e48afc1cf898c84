"""Plane geometry of oriented boxes, segments and angles, vectorised over the second operand.

A pose is (x, y, yaw), a half extent is (half length along the yaw, half width across it); metres and radians.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def wrap_angle(angle_rad: float) -> float:
    """Returns the same direction in [-pi, pi)."""
    return (angle_rad + math.pi) % (2.0 * math.pi) - math.pi


def box_corners(pose: Floats, half_extent: Floats) -> Floats:
    """Corners of boxes, counter-clockwise from front left.

    Args:
        pose: (N, 3).
        half_extent: (N, 2).

    Returns:
        (N, 4, 2).
    """
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    along = half_extent[:, :1] * np.array([1.0, -1.0, -1.0, 1.0])
    across = half_extent[:, 1:] * np.array([1.0, 1.0, -1.0, -1.0])
    x = pose[:, :1] + cos[:, None] * along - sin[:, None] * across
    y = pose[:, 1:2] + sin[:, None] * along + cos[:, None] * across
    return np.stack([x, y], axis=-1)


def to_frame(points: Floats, x: float, y: float, yaw: float) -> Floats:
    """Map coordinates in the frame of a pose (x forward, y left).

    Args:
        points: (N, 2).
        x: Of the pose.
        y: Of the pose.
        yaw: Of the pose.

    Returns:
        (N, 2).
    """
    cos, sin = math.cos(yaw), math.sin(yaw)
    dx, dy = points[:, 0] - x, points[:, 1] - y
    return np.stack([cos * dx + sin * dy, cos * dy - sin * dx], axis=-1)


def inside_box(
    x: float, y: float, pose: tuple[float, float, float], half_extent: tuple[float, float]
) -> bool:
    """True if a point lies in a box (its edge included)."""
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = x - pose[0], y - pose[1]
    return abs(cos * dx + sin * dy) <= half_extent[0] and abs(cos * dy - sin * dx) <= half_extent[1]


def overlaps(
    pose: tuple[float, float, float], half_extent: tuple[float, float], poses: Floats, half_extents: Floats
) -> NDArray[np.bool_]:
    """Which of N boxes overlap one box: separating axis test on the four axes of each pair.

    Boxes that only touch do not overlap.

    Args:
        pose: Of the one box.
        half_extent: Of the one box.
        poses: (N, 3).
        half_extents: (N, 2).

    Returns:
        (N,) bool.
    """
    x, y, yaw = pose
    length, width = half_extent
    dx, dy = poses[:, 0] - x, poses[:, 1] - y
    lengths, widths = half_extents[:, 0], half_extents[:, 1]
    found = dx * dx + dy * dy < (length + width + lengths + widths) ** 2
    near = np.nonzero(found)[0]
    if len(near) == 0:
        return found
    dx, dy, lengths, widths = dx[near], dy[near], lengths[near], widths[near]
    yaws = poses[near, 2]
    cos, sin, turn = math.cos(yaw), math.sin(yaw), yaws - yaw
    cosines, sines = np.cos(yaws), np.sin(yaws)
    turn_cos, turn_sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    found[near] = (
        (np.abs(dx * cos + dy * sin) < length + lengths * turn_cos + widths * turn_sin)
        & (np.abs(dy * cos - dx * sin) < width + lengths * turn_sin + widths * turn_cos)
        & (np.abs(dx * cosines + dy * sines) < lengths + length * turn_cos + width * turn_sin)
        & (np.abs(dy * cosines - dx * sines) < widths + length * turn_sin + width * turn_cos)
    )
    return found


def segments_cross(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]
) -> bool:
    """True if segment ab meets segment cd (end points included; parallel segments do not cross)."""
    rx, ry, sx, sy = b[0] - a[0], b[1] - a[1], d[0] - c[0], d[1] - c[1]
    denominator = rx * sy - ry * sx
    if abs(denominator) < 1e-12:
        return False
    qx, qy = c[0] - a[0], c[1] - a[1]
    t = (qx * sy - qy * sx) / denominator
    u = (qx * ry - qy * rx) / denominator
    return 0.0 <= t <= 1.0 and 0.0 <= u <= 1.0
