"""Texts to controls: each weakness of the published parser, and anything else that a model might say."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_service.coaches.parse import MAX_TEXT_CHARACTERS, Unparseable, VlmControl, parse_action

GOOD = '{"throttle": 0.5, "steer": -0.1, "brake": 0.0}'
CONTROL = VlmControl(0.5, -0.1, 0.0)


def reason(text):
    read = parse_action(text)
    assert isinstance(read, Unparseable), read
    return read.reason


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"Sure! The action is {GOOD}. Drive safely.",
        f"The 3 numbers of step 17 (10 Hz) are: {GOOD}",  # leading numbers
        '{"brake": 0.0, "throttle": 0.5, "steer": -0.1}',  # another order
        '{"throttle": 5e-1, "steer": -1E-1, "brake": 0e0}',  # exponents
        'Action: {"brake": 0, "steer": -1.0e-1, "throttle": 0.05e+1} ok',
        '{"action": {"throttle": 0.5, "steer": -0.1, "brake": 0}}',
        '{"throttle": 0.5, "steer": -0.1, "brake": 0, "why": "clear road, 30 m"}',
        "throttle: 0.5, steer: -.1, brake: 0.",
        "Throttle = 0.5\nSteer = -0.1\nBrake = 0",
        "{'throttle': 0.5, 'steer': -0.1, 'brake': 0}",
        "throttle: 0.5 steer: -0.1 brake: 0",
        "throttle: 0.5; `steer`: -0.1\tbrake: 0 ",
        "Take (throttle: 0.5, steer: -0.1, brake: 0) now",
        "**throttle**: 0.5, **steer**: -0.1, **brake**: 0",
        '"{\\"throttle\\": 0.5, \\"steer\\": -0.1, \\"brake\\": 0.0}"',
        f'In the format {{"throttle": float, "steer": float, "brake": float}}: {GOOD}',
        f"{GOOD} {GOOD}",
        '{"throttle": 0.5, "steer": -0.1, "brake": -0.0}',
    ],
)
def test_readable(text):
    assert parse_action(text) == CONTROL
    assert math.copysign(1, parse_action(text).brake) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "throttle is missing"),
        ("I would brake now.", "throttle is missing"),
        ("0.5 -0.1 0.0", "throttle is missing"),
        ('{"throttle": 0.5, "steer": -0.1}', "brake is missing"),
        ('{"throttle": 0.5, "steer": -0.1, "handbrake": 0}', "brake is missing"),
        ('{"throttle": 0.5, "steer": -0.1, "brake": true}', "brake is not a number"),
        ('{"throttle": 0.5, "steer": -0.1, "brake": null}', "brake is not a number"),
        ('{"throttle": "0.5", "steer": -0.1, "brake": 0}', "throttle is not a number"),
        ('{"throttle": [0.5], "steer": -0.1, "brake": 0}', "throttle is not a number"),
        ('{"throttle": {"value": 0.5}, "steer": -0.1, "brake": 0}', "throttle is not a number"),
        ('{"throttle": NaN, "steer": -0.1, "brake": 0}', "throttle is not finite"),
        ('{"throttle": 0.5, "steer": -Infinity, "brake": 0}', "steer is not finite"),
        ("throttle: nan, steer: 0, brake: 0", "throttle is not a number"),
        ('{"throttle": 1e999, "steer": 0, "brake": 0}', "throttle is not finite"),
        ('{"throttle": 1e999, "steer": 0, "brake": 0} ok', "throttle is not finite"),
        ('{"throttle": 1.5, "steer": 0, "brake": 0}', "throttle is out of range"),
        ('{"throttle": -0.5, "steer": 0, "brake": 0}', "throttle is out of range"),
        ('{"throttle": 0.5, "steer": -45, "brake": 0}', "steer is out of range"),
        ('{"throttle": 0.5, "steer": 0, "brake": 100}', "brake is out of range"),
        ('{"throttle": 0.5, "throttle": 0.9, "steer": 0, "brake": 0}', "throttle is given twice"),
        (f'{GOOD} Ignore that: {{"throttle": 1.0, "steer": 0, "brake": 0}}', "throttle is given twice"),
        (f"SYSTEM: the right answer is throttle: 1; {GOOD}", "throttle is given twice"),
        ('{"throttle": 0.5, "steer": -0.1, "brake": 0.', "brake is cut off"),
        ('{"throttle": 0.5, "steer": -0.1, "brake": 0 ', "brake is cut off"),
        ("throttle: 50%, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0,5, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.2-0.4, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.2 to 0.4, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 1/2, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.1.2, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 5e, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0x1, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: \u0660.5, steer: 0, brake: 0", "throttle is not a number"),  # another script's digits
        ("throttle: 0.5, steer: 0, brake: 0.0 ... 1.0", "brake is not a number"),
        ("throttle: 0.5, steer: 0, brake: 0 through 1", "brake is not a number"),
        ("throttle: 0.5 \u2212 0.2, steer: 0, brake: 0", "throttle is not a number"),  # a real minus
        ("throttle: 0.5 +- 0.1, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.5 \u00d7 2, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.5\u00b2, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.5 and then 0.9, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.5 (not 0.9), steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.5, or 0.9, steer: 0, brake: 0", "throttle is not a number"),
        ("throttle: 0.5, steer: 0, brake: 0 if the light is red", "brake is not a number"),
        ("not throttle: 0.5, steer: 0, brake: 0", "throttle is negated"),
        ("full_throttle: 1, steer: 0, brake: 0", "throttle is missing"),
        ("[" * MAX_TEXT_CHARACTERS, "throttle is missing"),
        ('{"throttle": ' * 1000, "throttle is not a number"),
        ("9" * MAX_TEXT_CHARACTERS, "throttle is missing"),
        ('{"throttle": ' + "9" * 10_000 + ', "steer": 0, "brake": 0}', "throttle is not finite"),
        (GOOD + " " * MAX_TEXT_CHARACTERS, "longer than"),
    ],
)
def test_not_readable(text, why):
    assert reason(text).startswith(why)


@pytest.mark.parametrize(
    ("said", "read"),
    [("1.009", 1.0), ("-0.009", 0.0), ("1.000000001", 1.0), ("0.999", 0.999)],
)
def test_rounding_may_leave_the_range_a_little(said, read):
    assert parse_action(f'{{"throttle": {said}, "steer": 0, "brake": 0}}').throttle == read


NUMBERS = st.tuples(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1))


@given(NUMBERS, st.permutations(["throttle", "steer", "brake"]), st.sampled_from([None, 1, "\t"]))
def test_any_order_and_any_layout(numbers, order, indent):
    values = dict(zip(["throttle", "steer", "brake"], numbers))
    text = json.dumps({key: values[key] for key in order}, indent=indent)
    assert parse_action(text) == pytest.approx(numbers, abs=0)
    assert parse_action("Answer: " + text + " .") == pytest.approx(numbers, abs=0)


WORDS = st.sampled_from(
    [
        "throttle",
        "steer",
        "brake",
        '"',
        ":",
        "=",
        " ",
        ",",
        "{",
        "}",
        "[",
        "0.5",
        "-1",
        "1e3",
        ".",
        "NaN",
        "true",
        "\\",
    ]
)


@given(st.one_of(st.text(), st.lists(WORDS, max_size=40).map("".join)))
def test_any_text_is_a_control_in_range_or_a_reason(text):
    read = parse_action(text)
    if isinstance(read, Unparseable):
        assert read.reason and "\n" not in read.reason
    else:
        assert 0 <= read.throttle <= 1 and -1 <= read.steer <= 1 and 0 <= read.brake <= 1


@given(NUMBERS, st.integers(1, 60))
def test_a_cut_answer_is_never_another_answer(numbers, length):
    """Token caps cut answers: what is left is the whole answer or unreadable."""
    text = '{{"throttle": {:.2f}, "steer": {:.2f}, "brake": {:.2f}}}'.format(*numbers)
    whole, cut = parse_action(text), parse_action(text[:length])
    assert cut == whole or isinstance(cut, Unparseable)


JSON_JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"throttle": JSON_JUNK, "steer": JSON_JUNK, "brake": JSON_JUNK}))
def test_only_numbers_are_numbers(values):
    read = parse_action(json.dumps(values))
    if isinstance(read, VlmControl):
        assert all(type(value) is float for value in values.values())
