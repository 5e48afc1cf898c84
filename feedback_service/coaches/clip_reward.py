"""CLIP compares a picture with its context's 30 captions: picture and context in, probabilities out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from codriver.coaching.vocabulary import ANCHORS, SPEED_BOUNDS_MPS, SPEEDS, command_index, context_index
from codriver.v1 import feedback_pb2, observation_pb2
from feedback_service.coaches.kind import Outcome, Seen, model_error, row_error, text_column
from feedback_service.triton.errors import TritonError, TritonReason
from feedback_service.triton.tensors import Tensor

SUM_TOLERANCE = 1e-3
"""How far the sum of the probabilities may be from 1: float32 softmaxes of half precision scores."""

# For one row at a time, the vocabulary's array functions are slow; a test holds these to them.
_BOUNDS_MPS = [float(np.float32(bound)) for bound in SPEED_BOUNDS_MPS]
_COMMANDS = {value: int(command_index(value)) for value in observation_pb2.RouteCommand.values()}


class ClipRewardKind:
    """FEEDBACK_KIND_CLIP_REWARD."""

    outputs: tuple[str, ...] = ("probabilities", "error")

    def told(self, context: observation_pb2.FeedbackContext) -> Hashable:
        """The index of the (command, speed) context, 0 to 23."""
        command = _COMMANDS[context.command]
        return int(context_index(command, bisect_right(_BOUNDS_MPS, context.forward_speed_mps)))

    def inputs(self, rows: Sequence[Seen]) -> dict[str, Tensor]:
        """``picture`` BYTES (B, 1) and ``context`` INT32 (B, 1)."""
        return {
            "picture": [row.picture for row in rows],
            "context": np.array([[row.told] for row in rows], np.int32),
        }

    def outcomes(self, rows: Sequence[Seen], outputs: Mapping[str, Tensor]) -> list[Outcome]:
        """A ClipReward for each row whose probabilities are some, else MODEL_ERROR.

        Raises:
            TritonError: BAD_ANSWER: the outputs as a whole are not what the contract says.
        """
        errors = text_column(outputs, "error", len(rows))
        table = outputs["probabilities"]
        if (
            isinstance(table, list)
            or table.shape != (len(rows), ANCHORS)
            or not np.issubdtype(table.dtype, np.floating)
        ):
            wrong = "BYTES" if isinstance(table, list) else f"{table.dtype} {list(table.shape)}"
            raise TritonError(
                TritonReason.BAD_ANSWER,
                f"output 'probabilities' is {wrong}, not floats of shape {[len(rows), ANCHORS]}",
            )
        with np.errstate(invalid="ignore", over="ignore"):
            sums_to_one = np.abs(table.sum(axis=1, dtype=np.float64) - 1.0) <= SUM_TOLERANCE
            valid = np.logical_and.reduce(table >= 0, axis=1) & sums_to_one
        finite = np.logical_and.reduce(np.isfinite(table), axis=1)
        columns = zip(rows, errors, table.tolist(), finite.tolist(), valid.tolist())
        return [_read(*row) for row in columns]


def _read(row: Seen, error: bytes, probabilities: list[float], finite: bool, valid: bool) -> Outcome:
    if error:
        return row_error(error)
    if not finite:
        return model_error("the model's probabilities are not finite")
    if not valid:
        return model_error("the model's probabilities are negative or do not sum to 1")
    command, speed = divmod(row.told, len(SPEEDS))
    return feedback_pb2.ClipReward(
        command_index=command, speed_index=speed, anchor_probabilities=probabilities
    )
