"""The expert that knows the speed only as its bin."""

from __future__ import annotations

import numpy as np
import pytest

from codriver.coaching.vocabulary import SPEED_BOUNDS_MPS, speed_index
from sim_clients.expert import Expert
from sim_clients.expert.speed_bin import BIN_SPEEDS_MPS, act_on_speed_bin, speed_as_bin
from tests.sim_clients.expert.world import drive, moving
from tests.sim_clients.scenes import MAP, ego, scene


def test_each_speed_stands_for_its_own_bin():
    assert [speed_index(speed) for speed in BIN_SPEEDS_MPS] == [0, 1, 2, 3]
    for speed in (0.05, 0.3, *SPEED_BOUNDS_MPS, 6.4):
        assert speed_index(speed_as_bin(ego(10.0, speed=speed)).forward_speed_mps) == speed_index(speed)


def test_only_the_speed_is_replaced():
    before = ego(10.0, 1.0, 0.7, speed=2.5)
    after = speed_as_bin(before)
    assert (after.x, after.y, after.yaw) == (before.x, before.y, before.yaw)
    assert after.forward_speed_mps == pytest.approx(3.3)
    np.testing.assert_allclose(after.velocity, 3.3 * np.array([np.cos(0.7), np.sin(0.7)]))


class Asked(Expert):
    """An expert that is also asked with the speed as its bin at every scene."""

    def __init__(self) -> None:
        super().__init__(MAP)
        self.binned = []

    def act(self, scene, report):
        action = super().act(scene, report)
        self.binned.append(act_on_speed_bin(self, scene, report))
        return action


def test_asking_changes_nothing_of_the_drive():
    standing = {"vehicles": moving((60.0, 0.0, 0.0, 0.0))}
    alone = drive(Expert(MAP), scene(ego(10.0), **standing), 15.0)
    asked = Asked()
    steps = drive(asked, scene(ego(10.0), **standing), 15.0)
    np.testing.assert_array_equal([s.action for s in steps], [s.action for s in alone])
    binned, actions = np.array(asked.binned), np.array([s.action for s in steps])
    assert np.isfinite(binned).all() and np.abs(binned).max() <= 1
    standing_still = np.array([speed_index(s.scene.ego.forward_speed_mps) == 0 for s in steps])
    np.testing.assert_allclose(binned[standing_still], actions[standing_still], atol=0.1)
    # It starts gently or late where the bin hides that the car is slower or faster than it thinks.
    assert np.abs(binned - actions).max() > 0.1
