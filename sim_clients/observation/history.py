"""What is remembered of past steps, in map coordinates, so that it can be drawn from any later pose."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.view import Points

HISTORY_STEPS = (-16, -11, -6, -1)
"""Queue positions that are drawn: 1.5, 1.0, 0.5 and 0.0 s ago at 10 Hz."""
QUEUE_LENGTH = 20


class Frame(NamedTuple):
    """One step.

    Attributes:
        vehicles: (N, 4) complex map corners of the vehicles near the ego.
        walkers: (M, 4) the same of walkers, scaled as they are drawn.
        light_levels: (L,) uint8 level of each of the map's stop lines: 0 where unlit or farther than 50 m.
        stop_sign: (1, 4) square of the stop sign that the ego has to obey, or (0, 4).
    """

    vehicles: Points
    walkers: Points
    light_levels: NDArray[np.uint8]
    stop_sign: Points


class History:
    """A queue of the last 20 steps."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque(maxlen=QUEUE_LENGTH)

    def clear(self) -> None:
        """Forgets everything: a new episode."""
        self._frames.clear()

    def push(self, frame: Frame) -> None:
        """Adds the newest step."""
        self._frames.append(frame)

    def sampled(self) -> tuple[Frame, ...]:
        """The 4 frames to draw, oldest first; where the queue is too short the oldest stands in.

        Raises:
            IndexError: If nothing was pushed since the last clear.
        """
        length = len(self._frames)
        return tuple(self._frames[max(step, -length)] for step in HISTORY_STEPS)
