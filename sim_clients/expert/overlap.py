"""Which boxes touch which samples of a path: the separating axis test for many pairs at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim_clients.scene import Floats


def boxes_on_path(
    path: Floats, path_half: tuple[float, float], poses: Floats, halves: Floats
) -> NDArray[np.bool_]:
    """Tests oriented boxes against one box moved along a path.

    Args:
        path: (S, 3) x, y, yaw of the moving box.
        path_half: Its half length and half width.
        poses: (K, 3) x, y, yaw of the other boxes.
        halves: (K, 2) their half lengths and half widths.

    Returns:
        (K, S) bool, True where they overlap.
    """
    touch = np.zeros((len(poses), len(path)), bool)
    if not len(poses):
        return touch
    reach = np.hypot(halves[:, 0], halves[:, 1]) + np.hypot(*path_half)
    dx = path[None, :, 0] - poses[:, None, 0]
    dy = path[None, :, 1] - poses[:, None, 1]
    k, s = np.nonzero(dx * dx + dy * dy < (reach**2)[:, None])
    if not len(k):
        return touch
    dx, dy = dx[k, s], dy[k, s]
    own_yaw, other_yaw = path[s, 2], poses[k, 2]
    own_length, own_width = path_half
    other_length, other_width = halves[k, 0], halves[k, 1]
    turn = other_yaw - own_yaw
    along, across = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    cos, sin = np.cos(own_yaw), np.sin(own_yaw)
    hit = np.abs(dx * cos + dy * sin) < own_length + other_length * along + other_width * across
    hit &= np.abs(dy * cos - dx * sin) < own_width + other_length * across + other_width * along
    cos, sin = np.cos(other_yaw), np.sin(other_yaw)
    hit &= np.abs(dx * cos + dy * sin) < other_length + own_length * along + own_width * across
    hit &= np.abs(dy * cos - dx * sin) < other_width + own_length * across + own_width * along
    touch[k, s] = hit
    return touch
