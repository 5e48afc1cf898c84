"""Disturbances of the applied action."""

import numpy as np
import pytest

from sim_clients.drive.config import Perturbation
from sim_clients.drive.disturbance import Disturber

ACTION = np.array([0.4, 0.1], np.float32)


def _driven(settings: Perturbation, steps: int = 3000, *, calm: bool = True) -> np.ndarray:
    disturber = Disturber(settings, np.random.default_rng(0))
    return np.array([disturber(ACTION, calm=calm) for _ in range(steps)])


def test_switched_off_it_changes_nothing():
    assert (_driven(Perturbation()) == ACTION).all()


def test_it_never_disturbs_while_that_is_dangerous():
    assert (_driven(Perturbation(steer=0.3, speed=0.5), calm=False) == ACTION).all()


def test_it_leads_away_and_comes_back():
    offsets = _driven(Perturbation(steer=0.3, speed=0.5)) - ACTION
    disturbed = np.abs(offsets).max(axis=1) > 0
    assert 0.05 < disturbed.mean() < 0.5
    assert np.abs(offsets[:, 1]).max() == pytest.approx(0.3, rel=0.35)
    assert np.abs(offsets[:, 1]).max() <= 0.3 + 1e-6
    assert offsets[:, 1].min() < 0 < offsets[:, 1].max()
    assert np.abs(np.diff(offsets[:, 1])).max() < 0.25  # it leads away, it does not kick


def test_actions_stay_in_range():
    disturber = Disturber(Perturbation(steer=1.0, speed=1.0, mean_gap_s=0.2), np.random.default_rng(1))
    driven = np.array([disturber(np.array([1.0, -1.0], np.float32), calm=True) for _ in range(500)])
    assert np.abs(driven).max() <= 1.0


def test_stalls_brake_for_seconds_and_end():
    driven = _driven(Perturbation(stall_gap_s=10.0), 5000)
    stalled = driven[:, 0] == -0.5
    assert 0.1 < stalled.mean() < 0.6
    assert (driven[:, 1] == ACTION[1]).all() and (driven[~stalled] == ACTION).all()
    edges = np.flatnonzero(np.diff(stalled.astype(int)))
    lengths = np.diff(edges)[::2] if not stalled[0] else np.diff(edges)[1::2]
    assert lengths.min() >= 24 and len(lengths) > 10


def test_a_stall_ends_where_the_expert_brakes():
    disturber = Disturber(Perturbation(stall_gap_s=0.1), np.random.default_rng(0))
    assert disturber(ACTION, calm=True)[0] == -0.5
    assert (disturber(ACTION, calm=False) == ACTION).all()
