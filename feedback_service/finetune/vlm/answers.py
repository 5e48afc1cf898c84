"""What a coach is taught to answer: the expert's control in two decimals, without changing its class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import lateral_index, longitudinal_index

_STEP = 0.01


def round_in_class(control: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounds controls to two decimals; a number that would leave its class goes to the nearest one inside it.

    A brake of 0.052 is braking, and 0.05 is not: it becomes 0.06.

    Args:
        control: (N, 3) throttle, steer, brake.
    """
    rounded = np.round(control, 2).astype(np.float32)
    for column, index in ((0, longitudinal_index), (2, longitudinal_index), (1, lateral_index)):
        wrong = index(rounded) != index(control)
        side = np.where(control[:, column] > rounded[:, column], _STEP, -_STEP)
        moved = rounded.copy()
        moved[:, column] = np.round(np.where(wrong, rounded[:, column] + side, rounded[:, column]), 2)
        better = wrong & (index(moved) == index(control))
        rounded[better] = moved[better]
    return rounded + np.float32(0)
