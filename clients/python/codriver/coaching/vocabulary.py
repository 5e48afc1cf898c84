"""The words for driving: commands, speeds, actions, and the 720 captions made of them.

A **context** is a command and a speed bin (6 x 4 = 24); within one, the 30 captions that differ in the action alone
are its **anchors** (6 longitudinal x 5 lateral classes, index = longitudinal * 5 + lateral).

The words are interface constants of Found-RL (arXiv 2602.10458, Tables 9 to 12, and its released code): models that
were trained with it know these captions letter by letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMMANDS: Tuple[str, ...] = (
    "turn left at the intersection",
    "turn right at the intersection",
    "go straight at the intersection",
    "follow the current lane",
    "change to the left lane",
    "change to the right lane",
)
SPEEDS: Tuple[str, ...] = (
    "The car is currently stopped",
    "The car is moving slowly",
    "The car is driving at a moderate speed",
    "The car is driving at a high speed",
)
SPEED_BOUNDS_MPS: Tuple[float, ...] = (0.1, 2.0, 4.5)
"""A speed below the n-th bound is in bin n; one at or above the last is in the last bin."""
LONGITUDINAL: Tuple[str, ...] = (
    "braking hard",
    "braking",
    "accelerating fast",
    "accelerating",
    "accelerating gently",
    "idling",
)
LATERAL: Tuple[str, ...] = (
    "going straight",
    "turning right sharply",
    "turning right",
    "turning left sharply",
    "turning left",
)
CONTEXTS = len(COMMANDS) * len(SPEEDS)
ANCHORS = len(LONGITUDINAL) * len(LATERAL)

_FOLLOW = COMMANDS.index("follow the current lane")
_LONGITUDINAL_NEIGHBOURS = ((0, 1), (3, 2), (3, 4))
_LATERAL_NEIGHBOURS = ((1, 2), (3, 4))
# Bounds as float32, since actions are: a brake of 0.05 is then not more than 0.05.
_BRAKE_HARD, _BRAKE = np.float32(0.5), np.float32(0.05)
_FAST, _ACCELERATE, _GENTLY = np.float32(0.8), np.float32(0.3), np.float32(0.05)
_STRAIGHT, _SHARPLY = np.float32(0.05), np.float32(0.3)


def command_index(command: Any) -> Any:
    """Index into ``COMMANDS`` of ``codriver.v1.RouteCommand`` values; what is not a command counts as "follow".

    Args:
        command: int or integer array.

    Returns:
        int or int64 array of the same shape.
    """
    value = np.asarray(command, np.int64)
    index = np.where((value >= 1) & (value <= len(COMMANDS)), value - 1, _FOLLOW)
    return int(index) if index.ndim == 0 else index


def speed_index(forward_speed_mps: Any) -> Any:
    """Index into ``SPEEDS`` of speeds in m/s; driving backwards counts as stopped.

    Args:
        forward_speed_mps: float or float array.

    Returns:
        int or int64 array of the same shape.
    """
    index = np.searchsorted(
        np.array(SPEED_BOUNDS_MPS, np.float32), np.float32(forward_speed_mps), side="right"
    )
    return int(index) if np.ndim(index) == 0 else index.astype(np.int64)


def context_index(command: Any, speed: Any) -> Any:
    """Index of a context, 0 to 23, from the indices of command and speed."""
    return command * len(SPEEDS) + speed


def longitudinal_index(control: NDArray[Any]) -> NDArray[np.int64]:
    """Classes of throttle and brake.

    Args:
        control: (..., 3) throttle, steer, brake.

    Returns:
        (...) int64 index into ``LONGITUDINAL``. The brake is looked at first.
    """
    control = np.asarray(control, np.float32)
    throttle, brake = control[..., 0], control[..., 2]
    conditions = [
        brake > _BRAKE_HARD,
        brake > _BRAKE,
        throttle > _FAST,
        throttle > _ACCELERATE,
        throttle > _GENTLY,
    ]
    return np.select(conditions, [np.int64(n) for n in range(5)], np.int64(5))


def lateral_index(control: NDArray[Any]) -> NDArray[np.int64]:
    """Classes of steering.

    Args:
        control: (..., 3) throttle, steer, brake.

    Returns:
        (...) int64 index into ``LATERAL``. At 0.05 the car turns; at 0.3 it does not yet turn sharply.
    """
    steer = np.asarray(control, np.float32)[..., 1]
    conditions = [np.abs(steer) < _STRAIGHT, steer > _SHARPLY, steer > 0, steer < -_SHARPLY]
    return np.select(conditions, [np.int64(n) for n in range(4)], np.int64(4))


def anchor_index(control: NDArray[Any]) -> NDArray[np.int64]:
    """Anchors of controls: (..., 3) to (...) int64, 0 to 29."""
    return longitudinal_index(control) * len(LATERAL) + lateral_index(control)


def caption(command: int, speed: int, longitudinal: int, lateral: int) -> str:
    """The caption of four indices."""
    return (
        f"Command is to {COMMANDS[command]}. {SPEEDS[speed]}. "
        f"Action behavior: The car is {LONGITUDINAL[longitudinal]} and {LATERAL[lateral]}."
    )


def context_captions(context: int) -> List[str]:
    """The 30 captions of a context, by anchor."""
    command, speed = divmod(context, len(SPEEDS))
    return [caption(command, speed, *divmod(anchor, len(LATERAL))) for anchor in range(ANCHORS)]


def all_captions() -> List[str]:
    """The 720 captions; index = context * 30 + anchor."""
    return [text for context in range(CONTEXTS) for text in context_captions(context)]


def _near() -> NDArray[np.bool_]:
    def closed(size: int, pairs: Tuple[Tuple[int, int], ...]) -> NDArray[np.bool_]:
        near = np.eye(size, dtype=bool)
        for one, other in pairs:
            near[one, other] = near[other, one] = True
        return near

    longitudinal = closed(len(LONGITUDINAL), _LONGITUDINAL_NEIGHBOURS)
    return np.kron(longitudinal, closed(len(LATERAL), _LATERAL_NEIGHBOURS)).astype(bool)


NEAR: NDArray[np.bool_] = _near()
"""(30, 30): whether an anchor counts as right where another one is (each class or its semantic neighbours)."""
