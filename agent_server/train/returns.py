"""Discounted returns of recorded episodes: what the value head is trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codriver.v1 import observation_pb2

DISCOUNT = 0.99
"""Discount of Found-RL's configuration."""


def discounted_returns(
    reward: NDArray[np.float32],
    step_kind: NDArray[np.uint8],
    episode: NDArray[np.int64],
    discount: float = DISCOUNT,
) -> NDArray[np.float32]:
    """Discounted return from each row, of the driving that was recorded.

    A terminated episode ends with nothing to come. A truncated one would have gone on: its last row is given the
    episode's mean reward for ever, which fades from the rows before it within some hundred steps.

    Args:
        reward: (N,) reward of the step out of each row.
        step_kind: (N,) ``codriver.v1.StepKind``.
        episode: (N,) index of the episode; rows of an episode stand together and in order.
        discount: Discount a step.

    Returns:
        (N,) float32.
    """
    returns = np.zeros(len(reward), np.float64)
    starts = np.flatnonzero(np.diff(episode, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(reward)], strict=True):
        following = 0.0
        if step_kind[stop - 1] != observation_pb2.STEP_KIND_TERMINATED:
            following = float(reward[start:stop].mean()) / (1 - discount)
        for row in range(stop - 1, start - 1, -1):
            following = float(reward[row]) + discount * following
            returns[row] = following
    return returns.astype(np.float32)
