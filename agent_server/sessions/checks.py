"""Checks of a message before any of its rows counts: shapes of its columns, and finite numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from agent_server.sessions.outcomes import Refusal
from codriver.errors import InvalidArgumentError
from codriver.v1 import action_pb2, observation_pb2, tensor_pb2

_MALFORMED = action_pb2.FRAME_ERROR_REASON_MALFORMED_TENSOR
_NOT_FINITE = action_pb2.FRAME_ERROR_REASON_NOT_FINITE
_FIRST = observation_pb2.STEP_KIND_FIRST


class Layout:
    """What messages of one session look like."""

    def __init__(
        self, tensors: Sequence[tensor_pb2.TensorSpec], row_sizes: Sequence[int | None], dims: int
    ) -> None:
        """A layout.

        Args:
            tensors: The agreed tensors.
            row_sizes: Size of an encoded row of each, in bytes; None where it varies.
            dims: Action dimensions.
        """
        self.tensors, self.row_sizes, self.dims = list(tensors), list(row_sizes), dims


def check_columns(batch: observation_pb2.ObservationBatch, layout: Layout, max_rows: int) -> int:
    """Checks that a message has rows at all: columns of one length.

    Returns:
        The number of rows.

    Raises:
        InvalidArgumentError: No row can be told from another; the message as a whole cannot be answered.
    """
    rows = len(batch.env)
    if not 0 < rows <= max_rows:
        raise _malformed("env", f"the message has {rows} rows; 1 to {max_rows} are allowed")
    if len(batch.episode) != rows or len(batch.step) != rows or len(batch.step_kind) != rows:
        lengths = f"{len(batch.episode)}, {len(batch.step)} and {len(batch.step_kind)} entries"
        raise _malformed("episode", f"episode, step and step_kind have {lengths} for {rows} rows")
    optional = (
        ("reward", len(batch.reward), rows),
        ("applied_action", len(batch.applied_action), rows * layout.dims),
        ("wants_feedback", len(batch.wants_feedback), rows),
        ("observed_at_us", len(batch.observed_at_us), rows),
        ("sampling_mode", len(batch.sampling_mode), rows),
    )
    for field, got, want in optional:
        if got and got != want:
            raise _malformed(field, f"{field} has {got} entries; {rows} rows need {want}, or none at all")
    known = action_pb2.SamplingMode.values()
    if any(mode not in known for mode in batch.sampling_mode):
        raise _malformed(
            "sampling_mode", f"sampling_mode has {max(batch.sampling_mode)}, which is no SamplingMode"
        )
    if len(batch.feedback_context) not in (0, sum(batch.wants_feedback)):
        raise _malformed(
            "feedback_context",
            f"feedback_context has {len(batch.feedback_context)} entries for {sum(batch.wants_feedback)} marked rows",
        )
    if len(batch.tensors) != len(layout.tensors):
        names = ", ".join(spec.name for spec in layout.tensors)
        raise _malformed(
            "tensors", f"the message has {len(batch.tensors)} columns; the session agreed on: {names}"
        )
    return rows


def check_sizes(
    batch: observation_pb2.ObservationBatch, data: Sequence[bytes], layout: Layout, rows: int
) -> Refusal | None:
    """Checks that each tensor's bytes can be cut into rows; the refusal is for every row.

    Args:
        batch: The message.
        data: The bytes of each column; protobuf copies them at each access, so they are taken out once.
        layout: What the message should look like.
        rows: Its number of rows.
    """
    for spec, size, column, content in zip(layout.tensors, layout.row_sizes, batch.tensors, data):
        wrong = _column_fault(spec, size, column, len(content), rows)
        if wrong:
            field = f"tensors[{spec.name}]"
            return Refusal(_MALFORMED, field, f"{field} {wrong}")
    return None


def check_finite(batch: observation_pb2.ObservationBatch, layout: Layout) -> dict[int, Refusal]:
    """Rows whose reward or applied action is NaN or infinite. Those of a first step are ignored."""
    if math.isfinite(sum(batch.reward)) and math.isfinite(sum(batch.applied_action)):
        return {}
    found = {}
    for row, kind in enumerate(batch.step_kind):
        if kind == _FIRST:
            continue
        if batch.reward and not math.isfinite(batch.reward[row]):
            found[row] = Refusal(
                _NOT_FINITE, "reward", f"reward is {batch.reward[row]}; send a finite number"
            )
        applied = batch.applied_action[row * layout.dims : (row + 1) * layout.dims]
        if not all(math.isfinite(value) for value in applied):
            detail = f"applied_action is {list(applied)}; send finite numbers"
            found[row] = Refusal(_NOT_FINITE, "applied_action", detail)
    return found


def same_row(
    a: observation_pb2.ObservationBatch,
    row_a: int,
    b: observation_pb2.ObservationBatch,
    row_b: int,
    layout: Layout,
) -> bool:
    """True when two rows carry the same observation, reward, applied action and sampling mode."""
    dims = layout.dims
    return (
        a.step_kind[row_a] == b.step_kind[row_b]
        and a.sampling_mode[row_a : row_a + 1] == b.sampling_mode[row_b : row_b + 1]
        and a.reward[row_a : row_a + 1] == b.reward[row_b : row_b + 1]
        and a.applied_action[row_a * dims : row_a * dims + dims]
        == b.applied_action[row_b * dims : row_b * dims + dims]
        and all(
            cell(column_a, size, row_a, spec.optional) == cell(column_b, size, row_b, spec.optional)
            for spec, size, column_a, column_b in zip(layout.tensors, layout.row_sizes, a.tensors, b.tensors)
        )
    )


def cell(column: tensor_pb2.TensorColumn, size: int | None, row: int, optional: bool) -> bytes:
    """Encoded bytes of one row of a checked column; empty where an optional tensor is missing."""
    index = row
    if optional:
        if row not in column.rows:
            return b""
        index = list(column.rows).index(row)
    if size is not None:
        return column.data[index * size : (index + 1) * size]
    start = sum(column.row_sizes_bytes[:index])
    return column.data[start : start + column.row_sizes_bytes[index]]


def cells(
    column: tensor_pb2.TensorColumn, content: bytes, size: int | None, rows: Sequence[int]
) -> list[bytes]:
    """Encoded bytes of some rows of a checked column that holds every row; ``content`` is its data, taken out once."""
    if size is not None:
        return [content[row * size : (row + 1) * size] for row in rows]
    ends = list(accumulate(column.row_sizes_bytes, initial=0))
    return [content[ends[row] : ends[row + 1]] for row in rows]


def _column_fault(
    spec: tensor_pb2.TensorSpec, size: int | None, column: tensor_pb2.TensorColumn, got: int, rows: int
) -> str:
    held = rows
    if spec.optional:
        held = len(column.rows)
        if held > rows:
            return f"names {held} rows of {rows}"
        ascending = all(a < b for a, b in zip(column.rows, column.rows[1:]))
        if held and (not ascending or column.rows[-1] >= rows):
            return f"names rows {list(column.rows)[:8]}; they must ascend and stay below {rows}"
    elif column.rows:
        return "is required, so its rows must be empty"
    if size is not None:
        if column.row_sizes_bytes:
            return "has a fixed row size, so its row_sizes_bytes must be empty"
        return "" if got == held * size else f"has {got} bytes; {held} rows of {size} bytes are {held * size}"
    sizes = column.row_sizes_bytes
    if len(sizes) != held or sum(sizes) != got:
        return f"has {len(sizes)} row sizes of {sum(sizes)} bytes in all for {held} rows and {got} bytes"
    return ""


def _malformed(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="MALFORMED_BATCH", field=f"observations.{field}")
