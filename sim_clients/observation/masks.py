"""The 15 mask channels: the layers halved to 96 x 96 by a 2 x 2 max-pool.

The pool keeps the set of levels. At an edge the greater level wins, so 255 nibbles at a 120 beside it.

Source: Found-RL, section on observations (96 x 96 x 15 masks); levels in ``codriver.driving.MASK_LEVELS``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.layers import LIGHTS, STOP_SIGNS, Layers

CHANNELS = 15


def pool(layers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """2 x 2 max-pool of C-contiguous (C, H, W) uint8 layers with even sides: a new (C, H/2, W/2) array.

    Rows first, then neighbours in a row by a shift of one byte; every second byte of the result is the answer. All
    passes run over contiguous memory, several times as fast as strides of two.
    """
    channels, height, width = layers.shape
    pairs = layers.reshape(channels * height // 2, 2 * width)
    rows = np.asarray(cv2.max(pairs[:, :width], pairs[:, width:])).reshape(-1)
    greater = np.empty_like(rows)
    np.maximum(rows[:-1], rows[1:], out=greater[:-1])
    return greater.view("<u2").astype(np.uint8).reshape(channels, height // 2, width // 2)


def masks(layers: Layers) -> NDArray[np.uint8]:
    """The masks of the step that was drawn last: a new (15, 96, 96) uint8 array, safe to keep."""
    result = pool(layers.images[:CHANNELS])
    if any(layers.sign_drawn):
        # A stop sign has the greatest level, so painting it last and taking the maximum are the same.
        np.maximum(result[LIGHTS], pool(layers.images[STOP_SIGNS]), out=result[LIGHTS])
    return result
