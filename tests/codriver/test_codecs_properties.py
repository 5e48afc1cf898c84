"""Codecs under arbitrary input: whatever goes in comes out, and only codriver's errors come out of junk."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codriver import driving
from codriver.batch import decode_observations
from codriver.codecs import bit_planes, png
from codriver.codecs.column import decode_rows, encode_column
from codriver.errors import CodriverError
from codriver.v1 import observation_pb2, tensor_pb2

MASKS, STATE, PICTURE = driving.observation_spec(picture=True).tensors
QUICK = settings(max_examples=60, deadline=None)
palettes = st.lists(st.integers(0, 255), min_size=2, max_size=256, unique=True).map(bytes)


@st.composite
def planes(draw):
    chosen = draw(st.lists(palettes, min_size=1, max_size=4))
    shape = draw(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)))
    rows = np.empty((shape[0], len(chosen), *shape[1:]), np.uint8)
    for channel, levels in enumerate(chosen):
        index = draw(hnp.arrays(np.int64, rows[:, channel].shape, elements=st.integers(0, len(levels) - 1)))
        rows[:, channel] = np.frombuffer(levels, np.uint8)[index]
    return rows, chosen


@given(planes())
@QUICK
def test_bit_planes_are_lossless(case):
    rows, chosen = case
    packed = bit_planes.pack(rows, chosen)
    np.testing.assert_array_equal(bit_planes.unpack(packed, chosen, *rows.shape[2:]), rows)


@given(palettes, st.binary(min_size=0, max_size=64), st.integers(1, 9), st.integers(1, 9))
@QUICK
def test_bit_planes_decode_canonically_or_refuse(levels, data, height, width):
    """Bytes that decode are the bytes that encoding gives: nothing is ignored."""
    try:
        rows = bit_planes.unpack(np.frombuffer(data, np.uint8)[None], [levels], height, width)
    except CodriverError:
        return
    assert bit_planes.pack(rows, [levels]).tobytes() == data


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
@QUICK
def test_grey_png_is_lossless(picture):
    np.testing.assert_array_equal(png.decode(png.encode(picture), picture.shape), picture)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 40), st.just(3))))
@QUICK
def test_colour_png_is_lossless(picture):
    np.testing.assert_array_equal(png.decode(png.encode(picture), picture.shape), picture)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_png_decoder_survives_junk(junk, signed):
    with pytest.raises(CodriverError):
        png.decode((png.SIGNATURE if signed else b"") + junk, (4, 4, 3))


GOOD_PNG = png.encode(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


@given(st.lists(st.tuples(st.integers(0, len(GOOD_PNG) - 1), st.integers(1, 255)), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_png_decoder_notices_flipped_bytes(flips):
    data = bytearray(GOOD_PNG)
    for position, change in flips:
        data[position] ^= change
    if bytes(data) == GOOD_PNG:
        return
    with pytest.raises(CodriverError):
        png.decode(bytes(data), (4, 4, 3))


columns = st.builds(
    tensor_pb2.TensorColumn,
    data=st.one_of(st.binary(max_size=200), st.integers(0, 3).map(lambda n: bytes(40 * n))),
    row_sizes_bytes=st.lists(st.integers(0, 2**32 - 1), max_size=4),
    rows=st.lists(st.integers(0, 2**32 - 1), max_size=4),
)


@given(st.sampled_from([MASKS, STATE, PICTURE]), columns, st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_columns_survive_junk(spec, column, rows):
    try:
        decoded = decode_rows(spec, column, rows)
    except CodriverError:
        return
    assert decoded.values.shape == (len(decoded.rows), *spec.shape)
    assert all(row < rows for row in decoded.rows)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_batches_survive_junk(junk):
    try:
        batch = observation_pb2.ObservationBatch.FromString(junk)
    except DecodeError:
        return
    with contextlib.suppress(CodriverError):
        decode_observations(driving.observation_spec(), batch)


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(10)), elements=st.floats(width=32)))
@QUICK
def test_state_is_bit_exact_or_refused(values):
    try:
        column = encode_column(STATE, values)
    except CodriverError:
        assert not np.isfinite(values).all()
        return
    assert decode_rows(STATE, column, len(values)).values.tobytes() == values.tobytes()
