"""Batches: numpy columns to ``ObservationBatch`` and ``ActionBatch`` to numpy, on either side of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from codriver.codecs.column import DecodedColumn, decode_rows, encode_column
from codriver.errors import FrameFailedError, InvalidArgumentError, NotFiniteError, TensorError
from codriver.v1 import action_pb2, observation_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Answers(NamedTuple):
    """An ``ActionBatch`` as arrays, one entry a row.

    Attributes:
        env: (N,) int64.
        episode: (N,) int64.
        step: (N,) int64.
        action: (N, A) float32; 0 where there is none.
        status: (N,) int64 ``ActionStatus``.
        value: (N,) float32 estimate of the return, or None when the policy has none.
        errors: The ``FrameError`` of each row that has one.
    """

    env: NDArray[np.int64]
    episode: NDArray[np.int64]
    step: NDArray[np.int64]
    action: NDArray[np.float32]
    status: NDArray[np.int64]
    value: NDArray[np.float32] | None
    errors: List[action_pb2.FrameError]

    def raise_errors(self) -> None:
        """Raises ``FrameFailedError`` when a row ended in an error; its message is the first row's detail."""
        if not self.errors:
            return
        first = self.errors[0]
        reason = _frame_reason(first.reason)
        more = f" (and {len(self.errors) - 1} more rows)" if len(self.errors) > 1 else ""
        key = ""
        if first.row < len(self.env):
            key = (
                f"env {self.env[first.row]}, episode {self.episode[first.row]}, step {self.step[first.row]}: "
            )
        raise FrameFailedError(
            f"{key}{first.detail or reason}{more}",
            rows={error.row: (_frame_reason(error.reason), error.detail) for error in self.errors},
            reason=reason,
            field=first.field,
        )


class BatchEncoder:
    """Builds the ``ObservationBatch`` messages of a session.

    Args:
        observation_spec: The agreed tensors.
        action_spec: The agreed actions.
    """

    def __init__(
        self, observation_spec: observation_pb2.ObservationSpec, action_spec: action_pb2.ActionSpec
    ) -> None:
        self._tensors = list(observation_spec.tensors)
        self._names = {tensor.name for tensor in self._tensors}
        self._dimensions = len(action_spec.names)

    def encode(
        self,
        tensors: Mapping[str, NDArray[Any]],
        *,
        env: Sequence[int],
        episode: Sequence[int],
        step: Sequence[int],
        step_kind: Sequence[int],
        reward: Sequence[float] | NDArray[Any] | None = None,
        applied_action: NDArray[Any] | None = None,
        present: Mapping[str, Sequence[int]] | None = None,
        wants_feedback: Sequence[bool] | None = None,
        feedback_context: Sequence[observation_pb2.FeedbackContext] = (),
        observed_at_us: Sequence[int] | None = None,
        sampling_mode: Sequence[int] | None = None,
    ) -> observation_pb2.ObservationBatch:
        """One message for N rows.

        Args:
            tensors: (N, *shape) values by tensor name; a tensor that is optional in the spec may be missing, or hold
                only the rows that ``present`` names.
            env: Environment of each row.
            episode: Episode of each row.
            step: Step of each row.
            step_kind: ``StepKind`` of each row.
            reward: (N,) reward of the transition into each row. None: the client has none.
            applied_action: (N, A) action that was applied on it. None: the answered one.
            present: By name of an optional tensor, the rows that its values hold. Not named: all rows.
            wants_feedback: Which rows want feedback.
            feedback_context: One for each row that does.
            observed_at_us: (N,) client's monotonic clock.
            sampling_mode: ``SamplingMode`` of each row. None: the session's.

        Raises:
            TensorError: A tensor is missing, unknown, or does not fit the spec.
            NotFiniteError: A tensor, the reward or the applied action holds NaN or infinity.
            InvalidArgumentError: The columns are not of one length.
        """
        count = len(env)
        batch = observation_pb2.ObservationBatch(env=env, episode=episode, step=step, step_kind=step_kind)  # type: ignore[arg-type]
        for name, column in (("episode", episode), ("step", step), ("step_kind", step_kind)):
            _check_length(name, len(column), count)
        if reward is not None:
            batch.reward.extend(_finite("reward", np.asarray(reward, np.float32), (count,)).tolist())
        if applied_action is not None:
            values = np.asarray(applied_action, np.float32)
            batch.applied_action.extend(
                _finite("applied_action", values, (count, self._dimensions)).ravel().tolist()
            )
        if wants_feedback is not None and any(wants_feedback):
            _check_length("wants_feedback", len(wants_feedback), count)
            _check_length("feedback_context", len(feedback_context), sum(map(bool, wants_feedback)))
            batch.wants_feedback.extend(bool(wants) for wants in wants_feedback)
            batch.feedback_context.extend(feedback_context)
        if observed_at_us is not None:
            _check_length("observed_at_us", len(observed_at_us), count)
            batch.observed_at_us.extend(observed_at_us)
        if sampling_mode is not None:
            _check_length("sampling_mode", len(sampling_mode), count)
            batch.sampling_mode.extend(sampling_mode)  # type: ignore[arg-type]
        self._add_tensors(batch, tensors, present or {}, count)
        return batch

    def _add_tensors(
        self,
        batch: observation_pb2.ObservationBatch,
        tensors: Mapping[str, NDArray[Any]],
        present: Mapping[str, Sequence[int]],
        count: int,
    ) -> None:
        for name in tensors:
            if name not in self._names:
                known = ", ".join(tensor.name for tensor in self._tensors)
                raise TensorError(
                    f"tensors[{name}] is not in the session's spec; it has {known}", field=f"tensors[{name}]"
                )
        for tensor in self._tensors:
            if tensor.name not in tensors:
                if not tensor.optional:
                    raise TensorError(f"tensors[{tensor.name}] is missing", field=f"tensors[{tensor.name}]")
                batch.tensors.add()
                continue
            values = np.asarray(tensors[tensor.name])
            rows = present.get(tensor.name)
            if len(values.shape) > 0:
                _check_length(
                    f"tensors[{tensor.name}]", values.shape[0], count if rows is None else len(rows)
                )
            batch.tensors.append(encode_column(tensor, values, rows))


def decode_actions(batch: action_pb2.ActionBatch, dimensions: int) -> Answers:
    """An ``ActionBatch`` as arrays.

    Args:
        batch: As received.
        dimensions: Dimensions A of an action.

    Raises:
        InvalidArgumentError: The answer's columns do not fit each other: the server is at fault.
    """
    count = len(batch.env)
    for name, got, want in (
        ("episode", len(batch.episode), count),
        ("step", len(batch.step), count),
        ("status", len(batch.status), count),
        ("action", len(batch.action), count * dimensions),
        ("value", len(batch.value), len(batch.value) and count),
    ):
        _check_length(f"actions.{name}", got, want)
    return Answers(
        np.asarray(batch.env, np.int64),
        np.asarray(batch.episode, np.uint64).astype(np.int64),
        np.asarray(batch.step, np.uint64).astype(np.int64),
        np.asarray(batch.action, np.float32).reshape(count, dimensions),
        np.asarray(batch.status, np.int64),
        np.asarray(batch.value, np.float32) if len(batch.value) else None,
        list(batch.errors),
    )


def decode_observations(
    spec: observation_pb2.ObservationSpec, batch: observation_pb2.ObservationBatch
) -> Dict[str, DecodedColumn]:
    """The tensors of an ``ObservationBatch`` by name, row errors included; what a server does first.

    Raises:
        TensorError: A whole column does not fit its spec, or the number of columns is not the spec's.
    """
    if len(batch.tensors) != len(spec.tensors):
        raise TensorError(
            f"tensors has {len(batch.tensors)} columns; the spec has {len(spec.tensors)}", field="tensors"
        )
    return {
        tensor.name: decode_rows(tensor, column, len(batch.env))
        for tensor, column in zip(spec.tensors, batch.tensors)
    }


def _finite(name: str, values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    if values.shape != tuple(shape):
        raise InvalidArgumentError(f"{name} has shape {values.shape}; expected {tuple(shape)}", field=name)
    if not np.isfinite(values).all():
        raise NotFiniteError(f"{name} holds NaN or infinity", field=name)
    return values


def _check_length(name: str, got: int, want: int) -> None:
    if got != want:
        raise InvalidArgumentError(f"{name} has {got} entries; expected {want}", field=name)


def _frame_reason(value: int) -> str:
    try:
        return action_pb2.FrameErrorReason.Name(value)[len("FRAME_ERROR_REASON_") :]
    except ValueError:
        return f"REASON_{value}"
