"""Raw tensors: C-contiguous little-endian elements (``ENCODING_RAW``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pack(rows: NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    """Bytes of rows, one after the other.

    Args:
        rows: (N, *shape) of ``dtype`` in any byte order.
        dtype: Element type.
    """
    return np.ascontiguousarray(rows, dtype=dtype.newbyteorder("<")).tobytes()


def unpack(data: bytes, dtype: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Rows from bytes: (N, *shape) of ``dtype`` in the machine's byte order, read-only.

    Args:
        data: A whole number of rows.
        dtype: Element type.
        shape: Shape of a row.
    """
    count = len(data) // (math.prod(shape) * dtype.itemsize)
    rows = np.frombuffer(data, dtype.newbyteorder("<")).reshape(count, *shape)
    return rows.astype(dtype, copy=False)
