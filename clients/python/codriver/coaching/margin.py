"""The CLIP margin, for whoever knows the action that was applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from codriver.coaching.vocabulary import ANCHORS, NEAR, anchor_index

if TYPE_CHECKING:
    from numpy.typing import NDArray


def clip_margin(probabilities: Any, control: Any) -> NDArray[np.float32]:
    """By how much CLIP prefers the applied action to every clearly different one (Found-RL, Eq. 26).

    The paper prints the maximum over the neighbours; its words and its code, and so this, take it over the anchors
    *outside* them.

    Args:
        probabilities: (..., 30) probabilities of the context's anchors.
        control: (..., 3) throttle, steer, brake that were applied.

    Returns:
        (...) float32, 0 to 1: P(applied) less the greatest P of an anchor that is neither it nor its
        neighbour, at least 0.

    Raises:
        ValueError: The last axis is not the 30 anchors, or a probability is not finite.
    """
    probabilities = np.asarray(probabilities, np.float32)
    if probabilities.shape[-1:] != (ANCHORS,):
        raise ValueError(f"probabilities have shape {probabilities.shape}; the last axis must be {ANCHORS}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite")
    anchor = anchor_index(control)
    applied = np.take_along_axis(probabilities, anchor[..., None], axis=-1)[..., 0]
    others = np.where(NEAR[anchor], np.float32(-np.inf), probabilities).max(axis=-1)
    return np.asarray(np.maximum(applied - others, 0), np.float32)
