"""Undoing the five PNG line filters (PNG specification, section 9) with numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE, SUB, UP, AVERAGE, PAETH = range(5)


def unfilter(data: bytes, height: int, width: int, samples: int) -> NDArray[np.uint8]:
    """Pixels from filtered lines.

    Args:
        data: height * (1 + width * samples) bytes: a filter byte before each line.
        height: Lines.
        width: Pixels a line.
        samples: Bytes a pixel.

    Returns:
        (height, width, samples) uint8.

    Raises:
        ValueError: A filter byte is not known.
    """
    lines = np.frombuffer(data, np.uint8).reshape(height, 1 + width * samples)
    kinds, raw = lines[:, 0], lines[:, 1:].reshape(height, width, samples)
    if int(kinds.max()) > PAETH:
        raise ValueError(f"line filter {int(kinds.max())} is not known")
    if not kinds.any():
        return raw
    if int(kinds.max()) <= UP:
        return _by_lines(kinds, raw)
    return _by_diagonals(kinds, raw)


def _by_lines(kinds: NDArray[np.uint8], raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines without AVERAGE and PAETH: sums modulo 256 along a line or down a column."""
    out = raw.copy()
    for y in np.flatnonzero(kinds):
        if kinds[y] == SUB:
            out[y] = np.cumsum(raw[y], axis=0, dtype=np.uint8)
        elif y:
            out[y] += out[y - 1]
    return out


def _by_diagonals(kinds: NDArray[np.uint8], raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Any lines: a pixel needs its left, upper and upper-left neighbours only, so a diagonal x + y is one step."""
    height, width, samples = raw.shape
    ys = np.arange(height)
    sub, up, average, paeth = ((kinds == kind)[:, None] for kind in (SUB, UP, AVERAGE, PAETH))
    # last[y + 1] is the pixel of line y on the diagonal before, older the one before that; entry 0 is above the picture
    last, older = np.zeros((2, height + 1, samples), np.int16)
    out = np.empty((height, width, samples), np.uint8)
    for diagonal in range(height + width - 1):
        xs = diagonal - ys
        inside = (xs >= 0) & (xs < width)
        left, above, corner = last[1:], last[:-1], older[:-1]
        to_left, to_above = np.abs(above - corner), np.abs(left - corner)
        to_corner = np.abs(left + above - 2 * corner)
        nearest = np.where(
            (to_left <= to_above) & (to_left <= to_corner),
            left,
            np.where(to_above <= to_corner, above, corner),
        )
        guess = sub * left + up * above + average * ((left + above) >> 1) + paeth * nearest
        pixels = np.zeros((height + 1, samples), np.int16)
        rows = ys[inside]
        pixels[rows + 1] = (raw[rows, xs[inside]] + guess[rows]) & 255
        out[rows, xs[inside]] = pixels[rows + 1]
        last, older = pixels, last
    return out
