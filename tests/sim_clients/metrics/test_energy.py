"""Cell current and fuel rate against published check values and hand-made sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_clients.metrics.energy import cell_current, energy, fuel_rate
from tests.sim_clients.scenes import ego


@pytest.mark.parametrize(
    ("acceleration", "current", "fuel"), [(0.0, 0.0021, 5e-5), (2.0, 0.048, 0.0011), (4.0, 0.095, 0.0022)]
)
def test_paper_values_at_3_6_metres_per_second(acceleration, current, fuel):
    assert cell_current(3.6, acceleration, "paper") == pytest.approx(current, rel=0.02)
    assert fuel_rate(3.6, acceleration) == pytest.approx(fuel, rel=0.02)


def test_paper_current_by_hand():
    # F = 1847*9.81*0.01 + 0.5*1.226*0.23*2.2*100 + 1.1*1847*1 = 181.191 + 31.018 + 2031.7 = 2243.909 N
    # P = 2243.909*10/0.9/0.95/1000 = 26.2445 W; I = (370 - sqrt(136900 - 0.4*26.2445))/0.2 = 0.0709321 A
    assert cell_current(10.0, 1.0, "paper") == pytest.approx(0.0709321, abs=2e-6)


def test_fuel_by_hand():
    # F = 181.1907 + 31.0178 + 1.05*1847 = 2151.5585 N; 21515.585 W / 0.3 / 44e6
    assert fuel_rate(10.0, 1.0) == pytest.approx(21515.585 / 0.3 / 44e6, rel=1e-6)
    assert fuel_rate(10.0, -1.0) == 0.0


def test_physical_braking_charges():
    # F = 212.2085 - 2031.7 = -1819.4915 N; P = -18194.915*0.9*0.95/1000 = -15.55665 W
    current = cell_current(10.0, -1.0, "physical")
    assert current == pytest.approx((3.7 - math.sqrt(13.69 + 0.4 * 15.55665)) / 0.2, abs=1e-5)
    assert current < 0


def test_a_cell_gives_no_more_than_it_can():
    assert cell_current(30.0, 5.0, "physical") == pytest.approx(18.5)


@given(st.floats(0.0, 30.0), st.floats(-4.0, 4.0), st.sampled_from(["paper", "physical"]))
def test_the_current_solves_the_circuit(speed, acceleration, mode):
    volt = {"paper": 370.0, "physical": 3.7}[mode]
    acceleration = abs(acceleration) if mode == "paper" else acceleration
    force = 1847 * 9.81 * 0.01 + 0.5 * 1.226 * 0.23 * 2.2 * speed**2 + 1.1 * 1847 * acceleration
    power = force * speed / 0.9 / 0.95 if force >= 0 else force * speed * 0.9 * 0.95
    cell = min(power / 1000, volt**2 / 0.4)
    current = cell_current(speed, acceleration, mode)
    assert current * (volt - current * 0.1) == pytest.approx(cell, abs=1e-6)


def test_paper_takes_the_norm_and_physical_the_sign():
    braking = ego(yaw=math.pi / 2, speed=10.0, acceleration=np.array([0.0, -1.0]))
    assert energy(braking, "paper").icell_a == cell_current(10.0, 1.0, "paper")
    assert energy(braking, "physical").icell_a == pytest.approx(cell_current(10.0, -1.0, "physical"))
    cornering = ego(yaw=0.0, speed=10.0, acceleration=np.array([0.0, 3.0]))
    assert energy(cornering, "physical").icell_a == cell_current(10.0, 0.0, "physical")
