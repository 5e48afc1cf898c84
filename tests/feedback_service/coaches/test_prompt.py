"""The prompt, letter by letter, and the answer that models are taught."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codriver.v1 import observation_pb2
from feedback_service.coaches.parse import VlmControl, parse_action
from feedback_service.coaches.prompt import answer_text, vlm_prompt


def context(**fields):
    return observation_pb2.FeedbackContext(**fields)


def test_the_prompt_is_the_papers():
    told = context(
        command=observation_pb2.ROUTE_COMMAND_CHANGE_LANE_RIGHT,
        forward_speed_mps=3.16,
        target_x_m=49.999,
        target_y_m=-2.5,
    )
    assert vlm_prompt(told) == (
        "You are a driving agent in a simulated environment.\n"
        "Current speed: 3.2 m/s.\n"
        "Forward vector: (50.00, -2.50).\n"
        'Navigation command: "change to the right lane".\n'
        "Based on the visual input and state information, predict the next action.\n"
        "Return the action in the following JSON format:\n"
        '{"throttle": float, "steer": float, "brake": float}'
    )


def test_no_command_reads_as_follow_and_no_target_as_zero():
    prompt = vlm_prompt(context(forward_speed_mps=-0.5, target_x_m=math.nan, target_y_m=math.inf))
    assert 'Navigation command: "follow the current lane".' in prompt
    assert "Current speed: -0.5 m/s." in prompt and "Forward vector: (0.00, 0.00)." in prompt
    assert "<image>" not in prompt


def test_the_answer_has_two_decimals_and_no_minus_zero():
    assert answer_text((0.501, -0.004, 1)) == '{"throttle": 0.50, "steer": 0.00, "brake": 1.00}'


@pytest.mark.parametrize("control", [(0.5, math.nan, 0), (0.5, math.inf, 0), (0.5, 0.1)])
def test_an_answer_is_three_finite_numbers(control):
    with pytest.raises(ValueError, match="three finite numbers"):
        answer_text(control)


@given(st.tuples(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1)))
def test_an_answer_is_json_and_is_read_as_it_was_meant(control):
    text = answer_text(control)
    assert list(json.loads(text)) == ["throttle", "steer", "brake"]
    read = parse_action(text)
    assert isinstance(read, VlmControl)
    assert read == pytest.approx(control, abs=0.0051)
