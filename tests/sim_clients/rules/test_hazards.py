"""The reward's hazard tests."""

import math

import numpy as np
import pytest

from sim_clients.rules.hazards import hazard_vehicle, hazard_walker
from tests.sim_clients.scenes import actors, ego, scene


def vehicle(distance, bearing_deg, turn_deg=0.0, yaw=0.7):
    angle = yaw + math.radians(bearing_deg)
    place = (5.0 + distance * math.cos(angle), 3.0 + distance * math.sin(angle), yaw + math.radians(turn_deg))
    return hazard_vehicle(scene(ego(5.0, 3.0, yaw), vehicles=actors(place)))


@pytest.mark.parametrize(
    ("distance", "bearing", "turn", "hazard"),
    [
        (9.4, 0, 0, True),
        (9.6, 0, 0, False),
        (9.4, 44, 0, True),
        (9.4, -44, 0, True),
        (9.4, 46, 0, False),
        (5.0, 180, 0, False),
        (9.4, 0, 149, True),
        (9.4, 0, 151, False),
        (9.4, 0, -151, False),
    ],
)
def test_vehicle(distance, bearing, turn, hazard):
    assert (vehicle(distance, bearing, turn) is not None) is hazard


def test_place_of_a_vehicle():
    found = vehicle(8.0, 30.0)
    assert found == (0, pytest.approx(8.0), pytest.approx(math.radians(30.0)))


def walker(distance, bearing_deg, on_pavement=False):
    angle = math.radians(bearing_deg)
    place = (10.0 + distance * math.cos(angle), distance * math.sin(angle), 0.0)
    state = scene(ego(10.0), walkers=actors(place), walker_on_pavement=np.array([on_pavement]))
    return hazard_walker(state) is not None


@pytest.mark.parametrize(
    ("distance", "bearing", "hazard"),
    [
        (9.4, 16.6, True),  # 162 / 9.7 = 16.70 degrees
        (9.4, 16.8, False),
        (5.0, -30.5, True),  # 162 / 5.3 = 30.57
        (5.0, -30.6, False),
        (1.0, 89.0, True),  # clipped to 1.5: 162 / 1.8 = 90
        (1.0, 91.0, False),
        (9.6, 0.0, False),
    ],
)
def test_walker(distance, bearing, hazard):
    assert walker(distance, bearing) is hazard


def test_walkers_on_the_pavement_are_none():
    assert not walker(5.0, 0.0, on_pavement=True)


def test_the_nearest_comes_first():
    found = hazard_vehicle(
        scene(ego(10.0), vehicles=actors((19.0, 0.0, 0.0), (10.0, 4.0, 0.0), (16.0, 1.0, 0.0)))
    )
    assert found.row == 2


def test_only_the_ten_nearest_are_looked_at():
    beside = [(10.0, 3.0 + 0.01 * i, 0.0) for i in range(10)]
    assert hazard_vehicle(scene(ego(10.0), vehicles=actors(*beside[:9], (15.0, 0.0, 0.0)))).row == 9
    assert hazard_vehicle(scene(ego(10.0), vehicles=actors(*beside, (15.0, 0.0, 0.0)))) is None
