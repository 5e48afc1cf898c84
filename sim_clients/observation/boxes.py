"""Oriented boxes of actors: which are near, their corners, and filling them into a layer."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.view import PX_PER_M, SHIFT, SIZE_PX, Fixed, Points, View, as_points, to_fixed
from sim_clients.scene import Actors, Ego

NEAR_M = float(math.ceil(SIZE_PX / PX_PER_M))
"""Actors count while both |dx| and |dy| on the map are below this: 39 m, more than any corner of the view."""
SAME_PLACE_M = 1.0
"""An actor within this of the ego on both axes is the ego itself (simulators that list it among the vehicles)."""
MIN_HALF_EXTENT_M = 0.8


def near(actors: Actors, ego: Ego) -> NDArray[np.bool_]:
    """Tells which of N actors can be in the view and are not the ego itself: (N,) bool."""
    distance = np.abs(actors.pose[:, :2] - (ego.x, ego.y))
    same_place = (distance < SAME_PLACE_M).all(axis=1)
    return np.asarray((distance < NEAR_M).all(axis=1) & ~same_place)


def corners(
    pose: NDArray[np.float64], half_extent: NDArray[np.float64], scale: float = 1.0, least: float = 0.0
) -> Points:
    """Corners of boxes on the map.

    Args:
        pose: (N, 3) x, y, yaw.
        half_extent: (N, 2) half length, half width in metres.
        scale: Factor on the half extents.
        least: Least half extent in metres, after scaling.

    Returns:
        (N, 4) complex: front left, front right, rear right, rear left.
    """
    extent = np.maximum(half_extent * scale, least)
    heading = np.exp(1j * pose[:, 2])
    length, width = extent[:, 0] * heading, extent[:, 1] * heading * 1j
    centre = as_points(pose[:, :2])
    front, rear = centre + length, centre - length
    return np.stack([front + width, front - width, rear - width, rear + width], axis=1)


def actor_corners(actors: Actors, ego: Ego, scale: float) -> Points:
    """(K, 4) corners of the K actors near the ego, with half extents scaled and at least 0.8 m."""
    if not len(actors):
        return np.zeros((0, 4), np.complex128)
    keep = near(actors, ego)
    return corners(actors.pose[keep], actors.half_extent[keep], scale, MIN_HALF_EXTENT_M)


def visible(view: View, quads: Points) -> tuple[Fixed, NDArray[np.intp]]:
    """Projects (N, 4) boxes and drops those outside of the view.

    Returns:
        (K, 4, 2) fixed-point corners and the (K,) indices of the boxes that they belong to.
    """
    pixels = view.to_pixels(quads)
    middle = (pixels[:, 0] + pixels[:, 2]) / 2
    reach = np.abs(pixels[:, 0] - middle) + SIZE_PX / 2
    offset = middle - complex(SIZE_PX / 2, SIZE_PX / 2)
    index = np.flatnonzero((np.abs(offset.real) < reach) & (np.abs(offset.imag) < reach))
    return to_fixed(pixels[index]), index


def fill(layer: NDArray[np.uint8], quad: Fixed, value: int) -> None:
    """Fills one convex polygon of (4, 2) fixed-point corners, its border included."""
    cv2.fillConvexPoly(layer, quad, (value,), cv2.LINE_8, SHIFT)
