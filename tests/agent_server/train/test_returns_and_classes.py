"""Returns by hand, situations by example."""

from __future__ import annotations

import numpy as np
import pytest

from agent_server.train.classes import (
    BRAKING,
    DRIVING,
    STANDING,
    STARTING,
    balanced_weights,
    signalled,
    situations,
)
from agent_server.train.returns import discounted_returns


def test_returns_by_hand() -> None:
    reward = np.array([1, 2, 0, 1, 1, 1], np.float32)
    kinds = np.array([1, 2, 3, 1, 2, 4], np.uint8)
    episode = np.array([0, 0, 0, 1, 1, 1])
    found = discounted_returns(reward, kinds, episode, discount=0.5)
    np.testing.assert_allclose(found[:3], [2.0, 2.0, 0.0])
    np.testing.assert_allclose(found[3:], [2.0, 2.0, 2.0])  # goes on with the mean reward for ever


def test_a_returned_value_never_crosses_episodes() -> None:
    reward = np.array([0, 0, 100, 100], np.float32)
    kinds = np.array([1, 3, 1, 3], np.uint8)
    found = discounted_returns(reward, kinds, np.array([0, 0, 1, 1]))
    assert found[:2].tolist() == [0, 0]


def test_situations() -> None:
    label = np.array([[-1, 0], [0, 0], [0.5, 0], [-0.5, 0], [0.5, 0], [0, 0]], np.float32)
    speed = np.array([0, 0.5, 0, 5, 5, 5], np.float32)
    found = situations(label, speed)
    assert found.tolist() == [STANDING, STANDING, STARTING, BRAKING, DRIVING, DRIVING]


@pytest.mark.parametrize(("exponent", "ratio"), [(0.0, 1.0), (0.5, 3.0), (1.0, 9.0)])
def test_rare_situations_are_drawn_more_often(exponent: float, ratio: float) -> None:
    label = np.tile(np.array([[0.5, 0.0]], np.float32), (100, 1))
    label[:10, 0] = -1
    weights = balanced_weights(label, np.full(100, 5, np.float32), np.zeros(100, bool), exponent)
    assert weights.mean() == pytest.approx(1)
    assert weights[0] / weights[50] == pytest.approx(ratio)


def test_braking_without_a_signal_is_a_class_of_its_own() -> None:
    state = np.zeros((100, 10), np.float32)
    state[:80, 6] = [1, 2] * 40
    state[80:90, 9] = 1
    signal = signalled(state)
    assert signal.sum() == 90 and not signal[90:].any()
    label = np.tile(np.array([[-0.5, 0.0]], np.float32), (100, 1))
    weights = balanced_weights(label, np.full(100, 5, np.float32), signal, 0.5)
    assert weights[95] / weights[0] == pytest.approx(3.0)


def test_green_is_no_reason_to_stop() -> None:
    state = np.zeros((2, 10), np.float32)
    state[1, 6] = 3
    assert not signalled(state).any()
