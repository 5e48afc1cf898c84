"""From the text of a vision-language coach to a control, or to the reason why there is none. Never a default.

A JSON object with exactly the three keys is taken by its keys. In any other text each key has to be followed by its
number (``"throttle": 0.5``, ``throttle = 5e-1``), in any order, and the number by a separator, a line's end or the next
key. Text that could be read in two ways is not read: two different numbers for a key, a range ("0.2 to 0.4"), a sum, a
decimal comma, a key behind a "not", a number that the end of the answer may have cut.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from feedback_service.coaches.prompt import KEYS

MAX_TEXT_CHARACTERS = 16_384
"""Longer answers are not looked at."""
TOLERANCE = 0.01
"""How far a number may be out of its range, and is then put onto its end: half a percent of rounding, twice."""
_LOWEST = {"throttle": 0.0, "steer": -1.0, "brake": 0.0}

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_MARKS = r"[\"'`*\\]*"
# All that may stand behind a number. Not among it: "50%", "0,5", "0.2 to 0.4", "0.5 +- 0.1", "0.5, or 0.6", "0.5 if".
_ENDS = (
    r"\s*\Z|[ \t]*(?:[\r\n}\])]|\\?[\"'`]|[,;](?![ \t]*(?:[+-]?\.?\d|or\b)))"
    rf"|[ \t]+{_MARKS}(?:{'|'.join(KEYS)})\b"
)
_STATED = {
    key: re.compile(
        rf"(?:(?P<negated>\b(?:not|no|never)\s+{_MARKS})|(?<![\w-])){key}{_MARKS}\s*[:=]\s*"
        rf"(?:(?P<number>{_NUMBER})(?={_ENDS})|(?P<type>float\b)|)",
        re.ASCII | re.IGNORECASE,
    )
    for key in KEYS
}


class VlmControl(NamedTuple):
    """A control that a coach suggests; finite and in range.

    Attributes:
        throttle: 0 to 1.
        steer: -1 (left) to 1 (right).
        brake: 0 to 1.
    """

    throttle: float
    steer: float
    brake: float


@dataclass(frozen=True)
class Unparseable:
    """A text without a valid control.

    Attributes:
        reason: One line that says what is wrong with it; holds nothing of the text.
    """

    reason: str


def parse_action(text: str) -> VlmControl | Unparseable:
    """Reads a coach's answer.

    Args:
        text: The answer as it was generated.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        return Unparseable(f"longer than {MAX_TEXT_CHARACTERS} characters")
    numbers = _from_json(text)
    if numbers is None:
        numbers = _from_keys(text)
    return numbers if isinstance(numbers, Unparseable) else _in_range(numbers)


def _from_json(text: str) -> dict[str, float] | Unparseable | None:
    """The numbers of a text that is one JSON object with exactly the three keys; None for any other text."""
    try:
        # Integers as floats: thousands of digits become infinity instead of an error. NaN and Infinity, which
        # Python reads and JSON has not, are refused with the range.
        pairs = json.loads(text, object_pairs_hook=tuple, parse_int=float)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple) or len(pairs) != len(KEYS) or {key for key, _ in pairs} != set(KEYS):
        return None
    numbers = dict(pairs)
    for key in KEYS:
        if not isinstance(numbers[key], float):
            return Unparseable(f"{key} is not a number")
    return numbers


def _from_keys(text: str) -> dict[str, float] | Unparseable:
    """The number behind each key, wherever it stands."""
    cut = text.rfind("{") > text.rfind("}")
    numbers: dict[str, float] = {}
    for key, pattern in _STATED.items():
        for match in pattern.finditer(text):
            if match["type"]:  # the prompt's own format, repeated
                continue
            if match["negated"]:
                return Unparseable(f"{key} is negated")
            if not match["number"]:
                return Unparseable(f"{key} is not a number")
            if cut and match.end() == len(text.rstrip()):
                return Unparseable(f"{key} is cut off")
            number = float(match["number"])
            if numbers.setdefault(key, number) != number:
                return Unparseable(f"{key} is given twice with different numbers")
        if key not in numbers:
            return Unparseable(f"{key} is missing")
    return numbers


def _in_range(numbers: dict[str, float]) -> VlmControl | Unparseable:
    checked = []
    for key in KEYS:
        number, lowest = numbers[key], _LOWEST[key]
        if not math.isfinite(number):
            return Unparseable(f"{key} is not finite")
        if not lowest - TOLERANCE <= number <= 1.0 + TOLERANCE:
            return Unparseable(f"{key} is out of range")
        checked.append(min(max(number, lowest), 1.0) + 0.0)
    return VlmControl(*checked)
