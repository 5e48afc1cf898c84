"""The ego view: 192 x 192 px at 5 px/m, heading up, the ego 40 px above the bottom edge and centred sideways.

Points are complex numbers in here: x + iy on the map, u + iv in the view (u to the right, v down). A change of
pose is then one multiplication and one addition for any number of points of any shape.

Pixel centres are whole numbers, so the view spans -0.5 .. 191.5 and the ego stands at (95.5, 151.5): exactly in
the middle, which keeps the view symmetric under a left-right flip.

Source: Found-RL, section on observations (geometry of the bird's-eye view).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim_clients.scene import Ego

Points = NDArray[np.complex128]
Fixed = NDArray[np.int32]

SIZE_PX = 192
PX_PER_M = 5.0
EGO_TO_BOTTOM_PX = 40
EGO_U = SIZE_PX / 2 - 0.5
EGO_V = SIZE_PX - EGO_TO_BOTTOM_PX - 0.5
SHIFT = 8
"""Fractional bits of the fixed-point pixels that OpenCV's drawing functions take: 1/256 px, 0.8 mm."""


def as_points(xy: NDArray[np.float64]) -> Points:
    """Reads (..., 2) float64 map coordinates as (...) complex points, without a copy where memory allows."""
    points: Points = np.ascontiguousarray(xy, dtype=np.float64).view(np.complex128)[..., 0]
    return points


def to_fixed(pixels: Points) -> Fixed:
    """Turns (...) complex pixels into (..., 2) int32 fixed-point (u, v) for OpenCV."""
    scaled = np.ascontiguousarray(pixels * (1 << SHIFT)).view(np.float64).reshape(*pixels.shape, 2)
    return np.rint(scaled).astype(np.int32)


@dataclass(frozen=True)
class View:
    """The view from one pose.

    Attributes:
        x, y, yaw: Pose of the ego's box centre on the map, in metres and radians.
    """

    x: float
    y: float
    yaw: float

    @classmethod
    def of(cls, ego: Ego) -> View:
        """The view of an ego vehicle."""
        return cls(ego.x, ego.y, ego.yaw)

    def to_pixels(self, points: Points) -> Points:
        """Maps (...) complex map points to complex pixels of the view."""
        turn = -1j * PX_PER_M * complex(math.cos(self.yaw), math.sin(self.yaw))
        offset = complex(EGO_U, EGO_V) - turn * complex(self.x, -self.y)
        pixels: Points = np.conj(points) * turn + offset
        return pixels

    def map_affine(self, x_min: float, y_max: float) -> NDArray[np.float64]:
        """The 2 x 3 matrix from view pixels (u, v) to pixels (column, row) of a map raster with 5 px/m.

        Args:
            x_min: Left edge of the raster's first column, in metres.
            y_max: Upper edge of the raster's first row, in metres (rows go south).
        """
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        column = (self.x - x_min) * PX_PER_M - 0.5
        row = (y_max - self.y) * PX_PER_M - 0.5
        return np.array(
            [
                [s, -c, column - s * EGO_U + c * EGO_V],
                [c, s, row - c * EGO_U - s * EGO_V],
            ]
        )
