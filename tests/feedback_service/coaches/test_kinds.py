"""Rows to inputs and outputs to outcomes: one bad row takes no other along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codriver.coaching.vocabulary import command_index, context_index, speed_index
from codriver.v1 import feedback_pb2, observation_pb2
from feedback_service.coaches.clip_reward import ClipRewardKind
from feedback_service.coaches.prompt import vlm_prompt
from feedback_service.coaches.vlm_action import RAW_TEXT_CHARACTERS, VlmActionKind
from feedback_service.triton.errors import TritonError, TritonReason

UNPARSEABLE = feedback_pb2.UNAVAILABLE_REASON_UNPARSEABLE
MODEL_ERROR = feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR
GOOD = b'{"throttle": 0.5, "steer": -0.25, "brake": 0}'


@dataclass
class Seen:
    picture: bytes
    told: Any


def context(command=2, speed=3.0):
    return observation_pb2.FeedbackContext(command=command, forward_speed_mps=speed, target_x_m=1.0)


def vlm_outcomes(*texts, errors=None):
    rows = [Seen(b"", "")] * len(texts)
    return VlmActionKind().outcomes(rows, {"text": list(texts), "error": errors or [b""] * len(texts)})


def test_vlm_inputs():
    kind = VlmActionKind()
    told = kind.told(context())
    assert told == vlm_prompt(context())
    assert kind.inputs([Seen(b"x", told)]) == {"picture": [b"x"], "prompt": [told.encode()]}


def test_each_text_is_read_by_itself():
    good, bad, cut, broken, failed = vlm_outcomes(
        GOOD,
        b"no idea",
        GOOD[:-3],
        b"\xff\xfe",
        b"",
        errors=[b"", b"", b"", b"", b"cannot read\nthe picture"],
    )
    assert (good.throttle, good.steer, good.brake) == (0.5, -0.25, 0.0)
    assert good.raw_text == GOOD.decode()
    assert bad.reason == cut.reason == broken.reason == UNPARSEABLE
    assert bad.detail == "throttle is missing: 'no idea'"
    assert failed.reason == MODEL_ERROR and failed.detail == "cannot read the picture"


def test_texts_are_kept_in_part():
    (outcome,) = vlm_outcomes(GOOD + b" and so on" * 1000)
    assert len(outcome.raw_text) == RAW_TEXT_CHARACTERS
    (outcome,) = vlm_outcomes("\U0001f697".encode() * 10_000)
    assert len(outcome.detail) < 300


@pytest.mark.parametrize(
    "outputs",
    [
        {"text": [GOOD], "error": [b"", b""]},
        {"text": [GOOD] * 3, "error": [b""] * 2},
        {"text": np.zeros((2, 1)), "error": [b""] * 2},
    ],
)
def test_vlm_outputs_as_a_whole(outputs):
    with pytest.raises(TritonError) as caught:
        VlmActionKind().outcomes([Seen(b"", "")] * 2, outputs)
    assert caught.value.reason is TritonReason.BAD_ANSWER


@given(st.sampled_from(observation_pb2.RouteCommand.values()), st.floats(-50, 50, width=32))
def test_clip_contexts_are_the_vocabularys(command, speed):
    told = ClipRewardKind().told(context(command, speed))
    assert told == context_index(command_index(command), speed_index(speed))


@pytest.mark.parametrize("speed", [0.1, 2.0, 4.5])
def test_clip_contexts_at_the_bounds(speed):
    for near in (np.nextafter(np.float32(speed), np.float32(-1)), np.float32(speed)):
        assert ClipRewardKind().told(context(1, near)) == context_index(0, speed_index(near))


def clip_outcomes(table, errors=None):
    rows = [Seen(b"", 9)] * len(table)
    return ClipRewardKind().outcomes(
        rows, {"probabilities": np.asarray(table, np.float32), "error": errors or [b""] * len(table)}
    )


def test_clip_inputs():
    inputs = ClipRewardKind().inputs([Seen(b"x", 4), Seen(b"y", 23)])
    assert inputs["picture"] == [b"x", b"y"]
    assert inputs["context"].dtype == np.int32 and inputs["context"].tolist() == [[4], [23]]


def test_each_row_of_probabilities_is_judged_by_itself():
    even = np.full(30, 1 / 30)
    table = np.stack([even] * 8)
    table[1, 3] = np.nan
    table[2, 0] = np.inf
    table[3] *= 1.01
    table[4, :2] = -0.1, 0.1 + 2 / 30
    table[5] = 0
    table[6] *= 1.0005
    outcomes = clip_outcomes(table, errors=[b""] * 7 + [b"bad picture"])
    values = [isinstance(outcome, feedback_pb2.ClipReward) for outcome in outcomes]
    assert values == [True, False, False, False, False, False, True, False]
    assert list(outcomes[0].anchor_probabilities) == pytest.approx(even.tolist())
    assert (outcomes[0].command_index, outcomes[0].speed_index) == divmod(9, 4)
    assert all(outcome.reason == MODEL_ERROR for outcome in outcomes if not hasattr(outcome, "speed_index"))
    assert "finite" in outcomes[1].detail and "sum" in outcomes[3].detail
    assert outcomes[7].detail == "bad picture"


@pytest.mark.parametrize(
    "table",
    [np.zeros((2, 29), np.float32), np.zeros((3, 30), np.float32), np.zeros((2, 30), np.int32), [b"", b""]],
)
def test_clip_outputs_as_a_whole(table):
    with pytest.raises(TritonError) as caught:
        ClipRewardKind().outcomes([Seen(b"", 0)] * 2, {"probabilities": table, "error": [b""] * 2})
    assert caught.value.reason is TritonReason.BAD_ANSWER
