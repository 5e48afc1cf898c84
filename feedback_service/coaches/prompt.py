"""The prompt of a vision-language coach and the answer that it was taught to give.

The words are interface constants of Found-RL (arXiv 2602.10458 and its released code): models that were trained with
it know them letter by letter. The literal ``<image>`` line of its data files is not part of the prompt: where the
picture goes, and by which token, is each model family's own business (its processor's chat template puts it there).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from codriver.coaching.vocabulary import COMMANDS, command_index
from codriver.v1 import observation_pb2

KEYS: tuple[str, str, str] = ("throttle", "steer", "brake")
"""The keys of the answer, in the order in which the prompt asks for them."""

_PROMPT = """\
You are a driving agent in a simulated environment.
Current speed: {speed:.1f} m/s.
Forward vector: ({x:.2f}, {y:.2f}).
Navigation command: "{command}".
Based on the visual input and state information, predict the next action.
Return the action in the following JSON format:
{{"throttle": float, "steer": float, "brake": float}}"""


def vlm_prompt(context: observation_pb2.FeedbackContext) -> str:
    """The prompt for one observation.

    Args:
        context: Command, signed forward speed in m/s, and next route target in the ego frame in metres. A target
            that is not finite reads as 0, as in the released code.

    Returns:
        Seven lines without a line break at the end.
    """
    return _PROMPT.format(
        speed=context.forward_speed_mps,
        x=_finite(context.target_x_m),
        y=_finite(context.target_y_m),
        command=COMMANDS[command_index(context.command)],
    )


def answer_text(control: Sequence[float]) -> str:
    """The answer to a prompt: a JSON object with two decimals.

    Args:
        control: (3,) throttle 0 to 1, steer -1 to 1, brake 0 to 1.

    Raises:
        ValueError: A number is not finite.
    """
    numbers = [float(number) for number in control]
    if len(numbers) != len(KEYS) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"a control is three finite numbers, not {numbers}")
    # The sum with 0.0 turns a rounded -0.0 into 0.0.
    return (
        "{" + ", ".join(f'"{key}": {round(number, 2) + 0.0:.2f}' for key, number in zip(KEYS, numbers)) + "}"
    )


def _finite(number: float) -> float:
    return number if math.isfinite(number) else 0.0
