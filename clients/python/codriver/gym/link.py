"""What passes between the gRPC side of ``RemoteEnv`` and its ``step``: rows one way, answers the other."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Dict, NamedTuple

import numpy as np

from codriver.batch import decode_observations
from codriver.errors import DeadlineExceededError, InvalidArgumentError, NotFiniteError
from codriver.v1 import observation_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDS = (observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED)
"""Step kinds of an episode's last observation, which gets no action."""


class Row(NamedTuple):
    """One observation of the environment, decoded and checked.

    Attributes:
        observation: The required tensors by name.
        reward: None when the simulator sends none.
        episode: Its episode.
        step: Its step.
        kind: Its ``StepKind``.
        applied_action: (A,) what was applied on the way to it; None: the answer.
    """

    observation: Dict[str, NDArray[Any]]
    reward: float | None
    episode: int
    step: int
    kind: int
    applied_action: NDArray[np.float32] | None


class Lost(NamedTuple):
    """The simulator is gone, and why."""

    reason: str


class Refusal(NamedTuple):
    """No action for a row, and why."""

    detail: str


class Link:
    """One attached stream: rows come in, and each row that is no episode's end waits for an answer."""

    def __init__(self) -> None:
        self._rows: SimpleQueue[Row | Lost] = SimpleQueue()
        self._answers: SimpleQueue[NDArray[np.float32] | Refusal | None] = SimpleQueue()

    def put(self, row: Row | Lost) -> None:
        """Hands a row to the environment (server's side)."""
        self._rows.put(row)

    def wait_answer(self) -> NDArray[np.float32] | Refusal | None:
        """Waits for the environment's answer to the last row (server's side). None: the stream has ended."""
        return self._answers.get()

    def end(self, reason: str) -> None:
        """The stream has ended: wakes both sides."""
        self._answers.put(None)
        self._rows.put(Lost(reason))

    def get(self, timeout_s: float) -> Row | Lost:
        """Waits for the next row (environment's side).

        Raises:
            DeadlineExceededError: None came.
        """
        try:
            return self._rows.get(timeout=timeout_s)
        except Empty:
            raise DeadlineExceededError(
                f"the simulator sent no observation for {timeout_s:g} s", hint="Look at the simulator."
            ) from None

    def answer(self, answer: NDArray[np.float32] | Refusal) -> None:
        """Answers the last row (environment's side)."""
        self._answers.put(answer)


def read_row(
    batch: observation_pb2.ObservationBatch, spec: observation_pb2.ObservationSpec, dimensions: int
) -> Row:
    """The row of a message that has one.

    Args:
        batch: The message.
        spec: The session's tensors.
        dimensions: Dimensions of an action.

    Raises:
        InvalidArgumentError: The row is wrong; its reason is that of a ``FrameError``.
    """
    if batch.env[0] != 0:
        text = f"env is {batch.env[0]}; there is only 0"
        raise InvalidArgumentError(text, reason="UNKNOWN_ENV", field="env")
    kind = batch.step_kind[0]
    if kind == observation_pb2.STEP_KIND_UNSPECIFIED or kind not in observation_pb2.StepKind.values():
        raise InvalidArgumentError(f"step_kind is {kind}", reason="INVALID_STEP_KIND", field="step_kind")
    columns = decode_observations(spec, batch)
    for column in columns.values():
        for error in column.errors.values():
            raise error
    applied = np.array(batch.applied_action, np.float32)
    if applied.size not in (0, dimensions) or len(batch.reward) > 1:
        text = f"reward has {len(batch.reward)} and applied_action {applied.size} values for 1 row"
        raise InvalidArgumentError(text, reason="MALFORMED_TENSOR", field="applied_action")
    if not np.isfinite(batch.reward).all() or not np.isfinite(applied).all():
        raise NotFiniteError("reward or applied_action holds NaN or infinity", field="reward")
    names = [tensor.name for tensor in spec.tensors if not tensor.optional]
    return Row(
        # a learner may write into its observation, and a decoded one can be read-only
        {name: np.array(columns[name].values[0]) for name in names},
        batch.reward[0] if batch.reward else None,
        batch.episode[0],
        batch.step[0],
        kind,
        applied if applied.size else None,
    )
