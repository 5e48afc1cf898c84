"""Figures on held-out episodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent_server.policies.torch_policy import TorchPolicy
from agent_server.train.classes import BRAKING, SITUATIONS, STANDING, STARTING, situations
from agent_server.train.data import MASKS, STATE, Rows
from codriver.driving import to_control

_BATCH = 64
_BRAKES = -0.05
_STARTS = 0.05
_REST_MPS = 0.05


def validate(policy: TorchPolicy, rows: Rows, most_rows: int) -> dict[str, float]:
    """Compares the policy with the expert on held-out rows, evenly spread over them.

    Returns:
        By name: mean absolute errors of throttle, steer and brake; per situation that of the acceleration; the
        shares of rows where the expert brakes, stands, starts, or starts from rest and the policy does too, and of
        those where the expert does not brake and the policy does; mean absolute error of the value; number of rows.
        Empty when nothing is held out.
    """
    held = np.flatnonzero(rows.held_out)
    if not len(held) or most_rows < 1:
        return {}
    index = held[np.unique(np.linspace(0, len(held) - 1, min(most_rows, len(held))).astype(np.int64))]
    action, value = _answers(policy, rows, index)
    label = rows.label[index]
    error = np.abs(to_control(action) - to_control(label)).mean(axis=0)
    figures = {
        "rows": float(len(index)),
        "throttle_mae": float(error[0]),
        "steer_mae": float(error[1]),
        "brake_mae": float(error[2]),
    }
    found = situations(label, rows.speed[index])
    for number, name in enumerate(SITUATIONS):
        mine = found == number
        if mine.any():
            figures[f"acceleration_mae_{name}"] = float(np.abs(action[mine, 0] - label[mine, 0]).mean())
    brakes = label[:, 0] < _BRAKES
    figures |= _share("brakes_when_braking", action[found == BRAKING, 0] < _BRAKES)
    figures |= _share("stays_when_standing", action[found == STANDING, 0] < _STARTS)
    figures |= _share("starts_when_starting", action[found == STARTING, 0] > _STARTS)
    from_rest = (found == STARTING) & (rows.speed[index] < _REST_MPS)
    figures |= _share("starts_from_rest", action[from_rest, 0] > _STARTS)
    figures |= _share("brakes_for_nothing", action[~brakes, 0] < _BRAKES)
    if value is not None:
        figures["value_mae"] = float(np.abs(value - rows.value[index]).mean())
    return figures


def _answers(
    policy: TorchPolicy, rows: Rows, index: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    outputs = []
    for start in range(0, len(index), _BATCH):
        part = index[start : start + _BATCH]
        outputs.append(policy.forward({MASKS: rows.unpack(part), STATE: rows.state[part]}))
    action = np.concatenate([output.action for output in outputs])
    values = [output.value for output in outputs if output.value is not None]
    return action, np.concatenate(values) if values else None


def _share(name: str, hits: NDArray[np.bool_]) -> dict[str, float]:
    return {name: float(hits.mean())} if len(hits) else {}
