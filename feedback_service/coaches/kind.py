"""What is particular to a kind of feedback: what its model is given, and how the model's outputs are read."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from codriver.v1 import feedback_pb2, observation_pb2
from feedback_service.triton.errors import TritonError, TritonReason, one_line
from feedback_service.triton.tensors import Tensor

Outcome = feedback_pb2.VlmAction | feedback_pb2.ClipReward | feedback_pb2.Unavailable
"""What a Feedback's ``outcome`` holds."""


class Seen(Protocol):
    """One observation as a model sees it."""

    @property
    def picture(self) -> bytes:
        """PNG file."""

    @property
    def told(self) -> Any:
        """What the kind's ``told`` made of its context."""


class CoachKind(Protocol):
    """One kind of feedback."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs."""

    def told(self, context: observation_pb2.FeedbackContext) -> Hashable:
        """What the model is told of a context beside the picture; equal ones get equal answers."""

    def inputs(self, rows: Sequence[Seen]) -> dict[str, Tensor]:
        """The model's inputs for some rows, at least one."""

    def outcomes(self, rows: Sequence[Seen], outputs: Mapping[str, Tensor]) -> list[Outcome]:
        """One outcome per row; what is wrong with a row concerns that row alone.

        Raises:
            TritonError: BAD_ANSWER: the outputs as a whole are not what the contract says.
        """


def unavailable(reason: feedback_pb2.UnavailableReason, detail: str) -> feedback_pb2.Unavailable:
    """No value, for a reason."""
    return feedback_pb2.Unavailable(reason=reason, detail=detail)


def model_error(detail: str) -> feedback_pb2.Unavailable:
    """No value: the model failed on this row."""
    return unavailable(feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR, detail)


def text_column(outputs: Mapping[str, Tensor], name: str, rows: int) -> list[bytes]:
    """A BYTES output with one element per row.

    Raises:
        TritonError: BAD_ANSWER.
    """
    column = outputs[name]
    if not isinstance(column, list) or len(column) != rows:
        raise TritonError(TritonReason.BAD_ANSWER, f"output {name!r} is not BYTES with one element per row")
    return column


def row_error(error: bytes) -> feedback_pb2.Unavailable:
    """The outcome of a row of which the model says what is wrong."""
    return model_error(one_line(error[:1200].decode("utf-8", "replace")))
