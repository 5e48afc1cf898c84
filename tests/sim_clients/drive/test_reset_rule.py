"""When traffic is kept between episodes."""

import math

import pytest

from sim_clients.drive.reset_rule import ResetRule


def softs(rule: ResetRule, last_return: float | None) -> int:
    return sum(not rule.hard(seed, last_return) for seed in range(1000))


@pytest.mark.parametrize("probability", [0.1, 0.25])
def test_soft_resets_come_as_often_as_asked_while_the_return_is_low(probability):
    rule = ResetRule(probability, 100.0)
    assert abs(softs(rule, 99.9) - 1000 * probability) < 50
    assert abs(softs(rule, -30.0) - 1000 * probability) < 50
    assert softs(rule, 100.0) == 0
    assert softs(rule, math.nan) == 0


def test_the_first_reset_and_one_after_a_failure_are_hard():
    assert softs(ResetRule(1.0, math.inf), None) == 0


def test_the_same_seed_decides_the_same_way():
    rule = ResetRule(0.5, 100.0)
    first = [rule.hard(seed, 10.0) for seed in range(100)]
    assert first == [rule.hard(seed, -5.0) for seed in range(100)]
    assert len(set(first)) == 2


def test_the_released_code_can_be_asked_for():
    assert 700 < softs(ResetRule(0.75, math.inf), 5000.0) < 800
    assert softs(ResetRule(), 0.0) == 0
