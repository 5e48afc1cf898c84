"""Stop lines with their lights, and the stop sign to obey, as they are remembered and drawn.

Source: Found-RL, section on observations, and the drawing rules of its released configuration.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.boxes import corners
from sim_clients.observation.view import Points, as_points
from sim_clients.rules.lights import LINE_HALF_SHARE
from sim_clients.scene import LightColour, SceneMap, StopSign

GREEN_LEVEL, YELLOW_LEVEL, RED_LEVEL = 80, 170, 255
LEVELS = (GREEN_LEVEL, YELLOW_LEVEL, RED_LEVEL)
"""In paint order: where lines cross, the stricter colour stays."""
STOP_LINE_PX = 6
LIGHT_REACH_M = 50.0

_LEVEL_OF_COLOUR = np.zeros(256, np.uint8)
_LEVEL_OF_COLOUR[LightColour.GREEN] = GREEN_LEVEL
_LEVEL_OF_COLOUR[LightColour.YELLOW] = YELLOW_LEVEL
_LEVEL_OF_COLOUR[LightColour.RED] = RED_LEVEL


class StopLines:
    """The stop lines of a map as arrays.

    Attributes:
        ends: (L, 2) complex map end points.
    """

    def __init__(self, scene_map: SceneMap) -> None:
        """Collects the lines."""
        lines = scene_map.stop_lines
        self._centre = as_points(np.array([line.centre for line in lines], np.float64).reshape(-1, 2))
        left = np.array([1j * np.exp(1j * line.yaw_rad) * line.lane_width_m for line in lines], np.complex128)
        half = left * LINE_HALF_SHARE
        self.ends: Points = np.stack([self._centre + half, self._centre - half], axis=1)

    def levels(self, colours: NDArray[np.uint8], x: float, y: float) -> NDArray[np.uint8]:
        """Levels of all lines as seen from a place: 0 for lights that are off or farther than 50 m.

        Args:
            colours: (L,) ``LightColour``.
            x: Place on the map.
            y: Place on the map.
        """
        near = np.abs(self._centre - complex(x, y)) <= LIGHT_REACH_M
        levels: NDArray[np.uint8] = _LEVEL_OF_COLOUR[colours] * near
        return levels


def stop_sign_square(sign: StopSign | None) -> Points:
    """(1, 4) corners of a stop sign's trigger box, made square by its longer side; (0, 4) for no sign."""
    if sign is None:
        return np.zeros((0, 4), np.complex128)
    side = max(sign.half_length_m, sign.half_width_m)
    pose = np.array([[sign.centre[0], sign.centre[1], sign.yaw_rad]])
    return corners(pose, np.array([[side, side]]))
