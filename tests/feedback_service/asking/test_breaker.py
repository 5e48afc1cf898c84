"""The breaker and the budget, without a model."""

from __future__ import annotations

from feedback_service.asking.breaker import Breaker, BreakerState
from feedback_service.asking.budget import RetryBudget


def test_failures_in_a_row_open_it():
    breaker = Breaker(3, 1.0, 4.0)
    assert not breaker.failed("a") and not breaker.failed("b")
    breaker.succeeded()
    assert not breaker.failed("c") and not breaker.failed("d") and breaker.state is BreakerState.CLOSED
    assert breaker.failed("e")
    assert (breaker.state, breaker.detail) == (BreakerState.OPEN, "e")
    assert not breaker.failed("f") and breaker.detail == "e"


def test_a_certain_failure_opens_it_at_once():
    breaker = Breaker(3, 1.0, 4.0)
    assert breaker.failed("not loaded", certain=True)


def test_half_open_one_failure_opens_and_one_success_closes():
    breaker = Breaker(2, 1.0, 4.0)
    breaker.probed(True)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed("a", certain=True)
    breaker.probed(False)
    assert breaker.state is BreakerState.OPEN
    breaker.probed(True)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.failed("b") and breaker.state is BreakerState.OPEN
    breaker.probed(True)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert not breaker.failed("c")


def test_pauses_double_up_to_the_longest_and_start_anew():
    breaker = Breaker(1, 1.0, 4.0)
    for pause_s in (1.0, 2.0, 4.0, 4.0):
        assert pause_s / 2 <= breaker.next_pause_s() <= pause_s
    breaker.succeeded()
    assert breaker.next_pause_s() <= 1.0


def test_the_budget_is_a_share_of_the_calls():
    budget = RetryBudget(0.1, reserve=2.0)
    assert budget.take() and budget.take() and not budget.take()
    taken = 0
    for _ in range(1000):
        budget.called()
        taken += budget.take()
    assert 90 <= taken <= 100
