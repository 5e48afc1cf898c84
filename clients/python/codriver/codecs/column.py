"""Columns: one tensor of a spec for all rows of a batch, whatever its encoding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from codriver.codecs import bit_planes, png, raw
from codriver.errors import CodriverError, NotFiniteError, TensorError
from codriver.spec import dtype_name
from codriver.v1 import tensor_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES: Dict[int, np.dtype[Any]] = {
    tensor_pb2.DTYPE_UINT8: np.dtype(np.uint8),
    tensor_pb2.DTYPE_FLOAT32: np.dtype(np.float32),
    tensor_pb2.DTYPE_INT32: np.dtype(np.int32),
    tensor_pb2.DTYPE_INT64: np.dtype(np.int64),
}


class DecodedColumn(NamedTuple):
    """What a column holds.

    Attributes:
        values: (len(rows), *shape) of the spec's dtype; may be read-only. Rows with an error hold zeros.
        rows: Batch row of each entry of ``values``: 0 to n_rows - 1 for a required tensor.
        errors: Errors by batch row: ``TensorError`` or ``NotFiniteError``, with ``field`` ``tensors[NAME]``.
    """

    values: NDArray[Any]
    rows: Tuple[int, ...]
    errors: Dict[int, CodriverError]


def numpy_dtype(spec: tensor_pb2.TensorSpec) -> np.dtype[Any]:
    """Element type of a tensor as a numpy dtype.

    Raises:
        TensorError: The dtype is not known.
    """
    try:
        return _DTYPES[spec.dtype]
    except KeyError:
        raise TensorError(
            f"{dtype_name(spec.dtype)} is not a known element type", field=_label(spec)
        ) from None


def row_nbytes(spec: tensor_pb2.TensorSpec) -> int | None:
    """Size of an encoded row in bytes; None where it varies (PNG)."""
    if spec.encoding == tensor_pb2.ENCODING_BIT_PLANES:
        return bit_planes.row_nbytes(_palettes(spec), spec.shape[1], spec.shape[2])
    if spec.encoding == tensor_pb2.ENCODING_RAW:
        return math.prod(spec.shape) * numpy_dtype(spec).itemsize
    return None


def encode_column(
    spec: tensor_pb2.TensorSpec, values: NDArray[Any], present: Sequence[int] | None = None
) -> tensor_pb2.TensorColumn:
    """Encodes the rows of one tensor.

    Args:
        spec: A valid spec.
        values: (N, *shape) of exactly the spec's dtype.
        present: For an optional tensor: the batch rows that ``values`` holds, ascending. Not given: rows 0 to N - 1.

    Returns:
        The column.

    Raises:
        TensorError: Shape, dtype, rows or values do not fit the spec.
        NotFiniteError: A float tensor holds NaN or infinity.
    """
    values = np.asarray(values)
    shape = tuple(spec.shape)
    if values.ndim != len(shape) + 1 or values.shape[1:] != shape:
        raise TensorError(
            f"{_label(spec)} has shape {values.shape}; expected (rows, *{shape})", field=_label(spec)
        )
    if values.dtype != numpy_dtype(spec):
        hint = f"Convert it with .astype(np.{dtype_name(spec.dtype)})."
        raise TensorError(
            f"{_label(spec)} is {values.dtype}; expected {dtype_name(spec.dtype)}",
            field=_label(spec),
            hint=hint,
        )
    bad = not_finite_rows(values)
    if bad:
        raise NotFiniteError(f"{_label(spec)} holds NaN or infinity in row {bad[0]}", field=_label(spec))
    column = tensor_pb2.TensorColumn()
    if spec.optional:
        column.rows.extend(range(len(values)) if present is None else present)
        _check_rows(spec, column.rows, len(values), None)
    elif present is not None and list(present) != list(range(len(values))):
        raise TensorError(f"{_label(spec)} is not optional: every row must be present", field=_label(spec))
    if spec.encoding == tensor_pb2.ENCODING_BIT_PLANES:
        column.data = bit_planes.pack(values, _palettes(spec), spec.name, spec.channel_names).tobytes()
    elif spec.encoding == tensor_pb2.ENCODING_PNG:
        files = [png.encode(picture) for picture in values]
        column.data = b"".join(files)
        column.row_sizes_bytes.extend(len(file) for file in files)
    else:
        column.data = raw.pack(values, numpy_dtype(spec))
    return column


def decode_column(spec: tensor_pb2.TensorSpec, column: tensor_pb2.TensorColumn, n_rows: int) -> NDArray[Any]:
    """Decodes the rows of one tensor, all or nothing; see :func:`decode_rows` for a result row by row.

    Args:
        spec: A valid spec.
        column: As received; nothing about it is trusted.
        n_rows: Rows of the batch.

    Returns:
        (n_rows, *shape) for a required tensor; (len(column.rows), *shape) for an optional one. May be read-only.

    Raises:
        TensorError: The bytes do not fit the spec.
        NotFiniteError: A float tensor holds NaN or infinity.
    """
    decoded = decode_rows(spec, column, n_rows)
    for error in decoded.errors.values():
        raise error
    return decoded.values


def decode_rows(spec: tensor_pb2.TensorSpec, column: tensor_pb2.TensorColumn, n_rows: int) -> DecodedColumn:
    """Decodes the rows of one tensor; a bad row spoils itself only.

    Args:
        spec: A valid spec.
        column: As received; nothing about it is trusted.
        n_rows: Rows of the batch.

    Returns:
        Values, their rows, and errors by row.

    Raises:
        TensorError: The column as a whole does not fit (number of bytes, row sizes, row indices), so that no row
            can be told from another.
    """
    rows = _rows(spec, column, n_rows)
    count = len(rows)
    pieces = _pieces(spec, column, count)
    try:
        values = _decode_all(spec, column.data, pieces)
        errors: Dict[int, CodriverError] = {}
    except TensorError:
        values, errors = _decode_each(spec, column.data, pieces, rows)
    for index in not_finite_rows(values):
        error = NotFiniteError(f"{_label(spec)} holds NaN or infinity", field=_label(spec))
        errors[rows[index]] = error
    if errors:
        values = values.copy()
        values[[index for index, row in enumerate(rows) if row in errors]] = 0
    return DecodedColumn(values, rows, errors)


def not_finite_rows(values: NDArray[Any]) -> List[int]:
    """Indices of the rows of (N, ...) values that hold NaN or infinity; empty for integers."""
    if values.dtype.kind != "f":
        return []
    finite = np.isfinite(values)
    if finite.all():
        return []
    return [int(row) for row in np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1))]


def _decode_all(spec: tensor_pb2.TensorSpec, data: bytes, pieces: List[Tuple[int, int]]) -> NDArray[Any]:
    """Rows that stand one after the other in data, in bulk."""
    shape = tuple(spec.shape)
    if spec.encoding == tensor_pb2.ENCODING_PNG:
        pictures = np.empty((len(pieces), *shape), np.uint8)
        for index, (start, end) in enumerate(pieces):
            pictures[index] = png.decode(data[start:end], shape, spec.name)
        return pictures
    if not pieces:
        return np.zeros((0, *shape), numpy_dtype(spec))
    part = data[pieces[0][0] : pieces[-1][1]]
    if spec.encoding == tensor_pb2.ENCODING_BIT_PLANES:
        planes = np.frombuffer(part, np.uint8).reshape(len(pieces), -1)
        return bit_planes.unpack(planes, _palettes(spec), shape[1], shape[2], spec.name)
    return raw.unpack(part, numpy_dtype(spec), shape)


def _decode_each(
    spec: tensor_pb2.TensorSpec, data: bytes, pieces: List[Tuple[int, int]], rows: Tuple[int, ...]
) -> Tuple[NDArray[Any], Dict[int, CodriverError]]:
    values = np.zeros((len(pieces), *spec.shape), numpy_dtype(spec))
    errors: Dict[int, CodriverError] = {}
    for index, piece in enumerate(pieces):
        try:
            values[index] = _decode_all(spec, data, [piece])[0]
        except TensorError as error:
            errors[rows[index]] = error
    return values, errors


def _rows(spec: tensor_pb2.TensorSpec, column: tensor_pb2.TensorColumn, n_rows: int) -> Tuple[int, ...]:
    if not spec.optional:
        if column.rows:
            raise TensorError(
                f"{_label(spec)} is not optional: its column must not name rows", field=_label(spec)
            )
        return tuple(range(n_rows))
    _check_rows(spec, column.rows, len(column.rows), n_rows)
    return tuple(column.rows)


def _check_rows(spec: tensor_pb2.TensorSpec, rows: Sequence[int], count: int, n_rows: int | None) -> None:
    ascending = all(a < b for a, b in zip(rows, rows[1:]))
    if len(rows) != count or not ascending or (n_rows is not None and len(rows) > 0 and rows[-1] >= n_rows):
        limit = "" if n_rows is None else f" below {n_rows}"
        raise TensorError(f"{_label(spec)} must name {count} ascending rows{limit}", field=_label(spec))


def _pieces(
    spec: tensor_pb2.TensorSpec, column: tensor_pb2.TensorColumn, count: int
) -> List[Tuple[int, int]]:
    """Start and end of each row in the column's data."""
    size = row_nbytes(spec)
    if size is not None:
        if column.row_sizes_bytes:
            raise TensorError(
                f"{_label(spec)} has rows of one size: row_sizes_bytes must be empty", field=_label(spec)
            )
        if len(column.data) != size * count:
            raise TensorError(
                f"{_label(spec)} has {len(column.data)} bytes; {count} rows of {size} bytes are {size * count}",
                field=_label(spec),
            )
        return [(index * size, (index + 1) * size) for index in range(count)]
    if len(column.row_sizes_bytes) != count or sum(column.row_sizes_bytes) != len(column.data):
        raise TensorError(
            f"{_label(spec)} has {len(column.row_sizes_bytes)} row sizes of {sum(column.row_sizes_bytes)} bytes in all "
            f"for {count} rows and {len(column.data)} bytes",
            field=_label(spec),
        )
    ends = [int(end) for end in np.cumsum(np.asarray(column.row_sizes_bytes, np.int64))]
    return list(zip([0, *ends[:-1]], ends))


def _palettes(spec: tensor_pb2.TensorSpec) -> List[bytes]:
    return [palette.levels for palette in spec.palettes]


def _label(spec: tensor_pb2.TensorSpec) -> str:
    return f"tensors[{spec.name}]"
