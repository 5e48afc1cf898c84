"""What is expected of a model that was called so and so."""

from __future__ import annotations

import pytest

from feedback_service.asking.latency import Latency


def test_the_longest_of_the_last_calls():
    latency = Latency()
    assert latency.expected_s(0.0) == 0.0
    latency.answered(3.0, 0.0)
    latency.answered(1.0, 1.0)
    assert latency.expected_s(1.0) == 3.0
    for call in range(16):
        latency.answered(1.0, 2.0 + call)
    assert latency.expected_s(17.0) == 1.0


def test_calls_that_were_given_up_raise_it_step_by_step():
    latency = Latency()
    latency.unanswered(0.4, 0.0)
    assert latency.expected_s(0.0) == 0.1  # a quarter, to begin with
    latency.unanswered(0.05, 0.0)
    assert latency.expected_s(0.0) == 0.1
    latency.unanswered(60.0, 0.0)
    assert latency.expected_s(0.0) == pytest.approx(0.15)
    latency.unanswered(0.2, 0.0)
    assert latency.expected_s(0.0) == pytest.approx(0.2)
    assert latency.answered_s == 0.0
    latency.answered(0.1, 0.0)
    assert latency.expected_s(0.0) == pytest.approx(0.2) and latency.answered_s == 0.1


def test_old_news_is_forgotten():
    latency = Latency()
    latency.answered(2.0, 10.0)
    assert latency.expected_s(14.0) == 2.0
    latency.answered(0.1, 14.0)
    assert latency.expected_s(14.1) == 0.0
    latency.answered(2.0, 20.0)
    latency.answered(1.2, 23.0)
    assert latency.expected_s(26.9) == 2.0
    latency.answered(2.0, 20.0)
    latency.forget()
    assert latency.expected_s(20.0) == 0.0
