"""Eq. 26 by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codriver.coaching.margin import clip_margin
from codriver.coaching.vocabulary import NEAR, anchor_index

pytestmark = pytest.mark.compat

ACCELERATING_STRAIGHT = (0.5, 0.0, 0.0)  # anchor 3 * 5 + 0; near: 10 (fast) and 20 (gently), straight all
IDLING_STRAIGHT = (0.0, 0.0, 0.0)  # anchor 25, no neighbours
BRAKING_LEFT = (0.0, -0.2, 0.3)  # anchor 1 * 5 + 4 = 9; near: 4, 3 (hard), 8 (braking, sharply)


def spread(**at):
    """Probabilities by anchor (``a15=0.5``); what is left is spread over the others."""
    p = np.full(30, np.nan)
    for name, value in at.items():
        p[int(name[1:])] = value
    rest = np.isnan(p)
    p[rest] = (1 - np.nansum(p)) / rest.sum()
    return p


@pytest.mark.parametrize(
    ("probabilities", "control", "margin"),
    [
        (spread(a15=0.5, a0=0.2), ACCELERATING_STRAIGHT, 0.3),
        (spread(a15=0.3, a10=0.4, a0=0.1), ACCELERATING_STRAIGHT, 0.2),  # a neighbour's 0.4 does not count
        (spread(a15=0.3, a20=0.4, a25=0.25), ACCELERATING_STRAIGHT, 0.05),
        (spread(a15=0.1, a16=0.6), ACCELERATING_STRAIGHT, 0.0),  # another is preferred: not negative
        (spread(a25=0.5, a20=0.25), IDLING_STRAIGHT, 0.25),
        (spread(a9=0.2, a4=0.3, a3=0.2, a8=0.2, a7=0.05), BRAKING_LEFT, 0.15),
        (spread(a9=0.2, a4=0.3, a3=0.2, a8=0.15, a14=0.12), BRAKING_LEFT, 0.08),
        (np.full(30, 1 / 30), IDLING_STRAIGHT, 0.0),
        (np.eye(30)[25], IDLING_STRAIGHT, 1.0),
    ],
)
def test_by_hand(probabilities, control, margin):
    assert float(clip_margin(probabilities, control)) == pytest.approx(margin, abs=1e-6)


def test_shapes():
    p = np.stack([spread(a15=0.5, a0=0.2), np.eye(30)[25]])
    margins = clip_margin(p, np.array([ACCELERATING_STRAIGHT, IDLING_STRAIGHT]))
    assert margins.dtype == np.float32
    np.testing.assert_allclose(margins, [0.3, 1.0], atol=1e-6)
    assert clip_margin(p[None], np.array([[ACCELERATING_STRAIGHT, IDLING_STRAIGHT]])).shape == (1, 2)


@pytest.mark.parametrize("wrong", [np.ones(29) / 29, np.full(30, np.nan), np.array([np.inf, *np.zeros(29)])])
def test_what_is_no_distribution_is_refused(wrong):
    with pytest.raises(ValueError):
        clip_margin(wrong, IDLING_STRAIGHT)


unit = st.floats(0, 1, width=32)


@given(
    weights=st.lists(st.floats(0.001, 1), min_size=30, max_size=30),
    control=st.tuples(unit, st.floats(-1, 1, width=32), unit),
)
def test_against_the_plain_formula(weights, control):
    p = np.array(weights, np.float32) / np.float32(sum(weights))
    anchor = int(anchor_index(np.array(control, np.float32)))
    others = [p[k] for k in range(30) if not NEAR[anchor, k]]
    margin = float(clip_margin(p, control))
    assert margin == pytest.approx(max(0.0, float(p[anchor]) - float(max(others))), abs=1e-6)
    assert 0 <= margin <= 1
    # only the action's own neighbourhood is favoured: the margin is positive for at most one neighbourhood's anchors
    if margin > 0:
        assert NEAR[anchor, int(p.argmax())]
