"""Codecs: lossless for everything that is valid, a named error for everything else."""

from __future__ import annotations

import struct
import time
import zlib

import numpy as np
import pytest

from codriver import driving
from codriver.codecs import bit_planes, png
from codriver.codecs.column import decode_column, decode_rows, encode_column, row_nbytes
from codriver.errors import NotFiniteError, TensorError
from codriver.v1 import tensor_pb2

pytestmark = pytest.mark.compat
MASKS, STATE, PICTURE = driving.observation_spec(picture=True).tensors
RNG = np.random.default_rng(7)


def masks(rows):
    return np.stack(
        [RNG.choice(np.array(levels, np.uint8), (rows, 96, 96)) for levels in driving.MASK_LEVELS], axis=1
    )


def reference_planes(row, palettes):
    """The layout of tensor.proto, one pixel at a time."""
    out = bytearray()
    for channel, levels in zip(row, palettes):
        index = [levels.index(value) for value in channel.ravel().tolist()]
        for bit in range(max(1, (len(levels) - 1).bit_length())):
            bits = [i >> bit & 1 for i in index] + [0] * (-len(index) % 8)
            for start in range(0, len(bits), 8):
                out.append(sum(b << (7 - k) for k, b in enumerate(bits[start : start + 8])))
    return bytes(out)


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8, 16, 17, 200, 256])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 8)])
def test_planes_follow_the_documented_layout(levels, size):
    palettes = [bytes(RNG.permutation(256)[:levels].tolist()) for _ in range(2)] + [b"\x00\xff"]
    rows = np.stack([RNG.choice(np.frombuffer(p, np.uint8), (3, *size)) for p in palettes], axis=1)
    packed = bit_planes.pack(rows, palettes)
    assert [row.tobytes() for row in packed] == [reference_planes(row, palettes) for row in rows]
    assert packed.shape[1] == bit_planes.row_nbytes(palettes, *size)
    np.testing.assert_array_equal(bit_planes.unpack(packed, palettes, *size), rows)


def test_worked_example_of_the_protocol_book():
    """docs/protocol.md shows these bytes."""
    picture = np.array([[[0, 80, 170, 255], [255, 0, 0, 80]]], np.uint8)
    assert bit_planes.pack(picture[None], [bytes([0, 80, 170, 255])]).tobytes().hex() == "5938"


def test_driving_masks_are_22_planes():
    assert row_nbytes(MASKS) == 25344
    rows = masks(3)
    column = encode_column(MASKS, rows)
    assert len(column.data) == 3 * 25344
    decoded = decode_column(MASKS, column, 3)
    np.testing.assert_array_equal(decoded, rows)
    decoded[:] = 0  # a decoded batch of masks is its owner's


def test_unpacking_is_fast_enough():
    """5 us a plane is asked; CPU time, best of several, with room for a slow machine."""
    column = encode_column(MASKS, masks(32))
    best = 1e9
    for _ in range(10):
        begin = time.process_time()
        decode_column(MASKS, column, 32)
        best = min(best, time.process_time() - begin)
    assert best / 32 / 22 < 10e-6


def test_index_beyond_the_palette_spoils_its_row_only():
    rows = masks(3)
    column = encode_column(MASKS, rows)
    data = bytearray(column.data)
    data[25344] |= 0x80  # row 1, road: both planes of the first pixel set is index 3 of 3 levels
    data[25344 + 1152] |= 0x80
    column.data = bytes(data)
    with pytest.raises(TensorError, match="channels 0 to 2, which have 3 levels") as caught:
        decode_column(MASKS, column, 3)
    assert caught.value.field == "tensors[bev_masks]"
    decoded = decode_rows(MASKS, column, 3)
    assert list(decoded.errors) == [1] and not decoded.values[1].any()
    np.testing.assert_array_equal(decoded.values[[0, 2]], rows[[0, 2]])


def test_padding_bits_must_be_zero():
    with pytest.raises(TensorError, match="padding"):
        bit_planes.unpack(np.array([[0b00000001]], np.uint8), [b"\x00\x01"], 1, 5)
    with pytest.raises(TensorError, match="1 planes of 1 bytes are 1"):
        bit_planes.unpack(np.zeros((1, 2), np.uint8), [b"\x00\x01"], 1, 5)


@pytest.mark.parametrize("dtype", ["UINT8", "FLOAT32", "INT32", "INT64"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_raw(dtype, shape):
    spec = tensor_pb2.TensorSpec(
        name="x",
        dtype=tensor_pb2.Dtype.Value(f"DTYPE_{dtype}"),
        shape=shape,
        encoding=tensor_pb2.ENCODING_RAW,
    )
    values = np.asarray(RNG.integers(0, 100, (4, *shape)), dtype.lower())
    column = encode_column(spec, values)
    assert column.data == values.astype(values.dtype.newbyteorder("<")).tobytes()
    decoded = decode_column(spec, column, 4)
    np.testing.assert_array_equal(decoded, values)
    assert decoded.dtype == values.dtype and len(encode_column(spec, values[:0]).data) == 0


def test_not_finite():
    values = np.zeros((3, 10), np.float32)
    column = encode_column(STATE, values)
    values[1, 4] = np.inf
    with pytest.raises(NotFiniteError, match="row 1"):
        encode_column(STATE, values)
    column.data = values.tobytes()
    assert list(decode_rows(STATE, column, 3).errors) == [1]
    with pytest.raises(NotFiniteError, match=r"tensors\[state\]"):
        decode_column(STATE, column, 3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data": b"123"}, "3 bytes; 2 rows of 40 bytes are 80"),
        ({"row_sizes_bytes": [40, 40]}, "must be empty"),
        ({"rows": [0, 1]}, "not optional"),
    ],
)
def test_columns_that_do_not_fit(change, match):
    column = encode_column(STATE, np.zeros((2, 10), np.float32))
    for field, value in change.items():
        if field == "data":
            column.data = value
        else:
            getattr(column, field).extend(value)
    with pytest.raises(TensorError, match=match):
        decode_rows(STATE, column, 2)


def test_optional_rows():
    pictures = RNG.integers(0, 256, (2, 192, 192, 3)).astype(np.uint8)
    column = encode_column(PICTURE, pictures, [1, 4])
    decoded = decode_rows(PICTURE, column, 6)
    assert decoded.rows == (1, 4)
    np.testing.assert_array_equal(decoded.values, pictures)
    assert decode_rows(PICTURE, tensor_pb2.TensorColumn(), 6).rows == ()
    for rows in ([4, 1], [1, 1], [1, 6]):
        del column.rows[:]
        column.rows.extend(rows)
        with pytest.raises(TensorError, match="ascending"):
            decode_rows(PICTURE, column, 6)
    with pytest.raises(TensorError, match="ascending"):
        encode_column(PICTURE, pictures, [1])


def drawn():
    picture = np.zeros((24, 40, 3), np.uint8)
    picture[4:9, 3:30] = (46, 52, 54)
    picture[:, 7] = (255, 0, 255)
    return picture


def noise(shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(
    "picture", [drawn(), noise((24, 40, 3)), noise((24, 40)), noise((1, 1, 3)), noise((1, 1))], ids=str
)
def test_png_round_trip(picture):
    np.testing.assert_array_equal(png.decode(png.encode(picture), picture.shape), picture)


def test_png_uses_a_palette_for_drawings():
    assert png.encode(drawn())[25] == png.PALETTE and png.encode(noise((24, 40, 3)))[25] == png.RGB


def filtered(picture, kinds):
    """Pixel data of a picture with a given filter for each line, straight from the specification."""
    lines = []
    zero = np.zeros(picture.shape[2], int)
    at = lambda y, x: picture[y, x].astype(int) if y >= 0 and x >= 0 else zero  # noqa: E731
    for y, kind in enumerate(kinds):
        line = bytearray([kind])
        for x in range(picture.shape[1]):
            a, b, c = at(y, x - 1), at(y - 1, x), at(y - 1, x - 1)
            for s in range(picture.shape[2]):
                p = a[s] + b[s] - c[s]
                near = min((abs(p - a[s]), 0, a[s]), (abs(p - b[s]), 1, b[s]), (abs(p - c[s]), 2, c[s]))[2]
                guess = [0, a[s], b[s], (a[s] + b[s]) // 2, near][kind]
                line.append(int(picture[y, x, s] - guess) % 256)
        lines.append(bytes(line))
    return b"".join(lines)


def png_file(shape, body, kind=2, pieces=1, depth=8, interlace=0):
    packed = zlib.compress(body)
    size = -(-len(packed) // pieces)
    chunks = [png._chunk(b"IHDR", struct.pack(">IIBBBBB", shape[1], shape[0], depth, kind, 0, 0, interlace))]
    chunks += [png._chunk(b"IDAT", packed[i : i + size]) for i in range(0, len(packed), size)]
    return (
        png.SIGNATURE
        + chunks[0]
        + png._chunk(b"tEXt", b"a\0b")
        + b"".join(chunks[1:])
        + png._chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "kinds", [[0, 1, 2, 3, 4], [4, 4, 4, 4, 4], [3, 0, 3, 1, 2], [2, 1, 2, 1, 1], [4, 3, 2, 1, 0]]
)
@pytest.mark.parametrize("width", [1, 7])
def test_png_filters(kinds, width):
    picture = noise((5, width, 3))
    data = png_file(picture.shape, filtered(picture, kinds), pieces=3)
    np.testing.assert_array_equal(png.decode(data, picture.shape), picture)


def test_png_grey_file_for_a_colour_tensor():
    grey = noise((5, 7))
    np.testing.assert_array_equal(png.decode(png.encode(grey), (5, 7, 3)), np.repeat(grey[:, :, None], 3, 2))
    with pytest.raises(TensorError, match="expected a grey file"):
        png.decode(png.encode(drawn()), drawn().shape[:2])


def test_png_of_other_programs():
    cv2 = pytest.importorskip("cv2")
    for picture in (drawn(), noise((24, 40, 3)), np.cumsum(noise((24, 40, 3)) % 5, axis=1).astype(np.uint8)):
        written = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
        np.testing.assert_array_equal(png.decode(written, picture.shape), picture)
        read = cv2.imdecode(np.frombuffer(png.encode(picture), np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(read[:, :, ::-1], picture)


def bad_pngs():
    good = png.encode(drawn())
    h, w = drawn().shape[:2]
    yield "empty", b"", "signature"
    yield "short", good[:-5], "longer than the file|ends before"
    yield "tail", good + b"x", "bytes follow"
    yield "flipped", good[:60] + bytes([good[60] ^ 1]) + good[61:], "checksum"
    yield "no header", png.SIGNATURE + png._chunk(b"IEND", b""), "header is missing"
    yield (
        "short header",
        png.SIGNATURE + png._chunk(b"IHDR", b"1") + png._chunk(b"IEND", b""),
        "requires a buffer",
    )
    yield "16 bit", png_file((h, w), b"", depth=16), "8-bit"
    yield "interlaced", png_file((h, w), b"", interlace=1), "8-bit"
    yield "alpha", png_file((h, w), b"", kind=6), "8-bit"
    yield "no palette", png_file((h, w), bytes(h * (w + 1)), kind=3), "palette"
    yield "other size", png.encode(noise((24, 41, 3))), "41 x 24 pixels, expected 40 x 24"
    yield "few pixels", png_file((h, w), bytes(10)), "2904 bytes"
    yield "bomb", png_file((h, w), bytes(50_000_000)), "2904 bytes"
    yield "filter", png_file((h, w), bytes([9]) * (h * (w * 3 + 1))), "filter 9"


@pytest.mark.parametrize(("data", "match"), [pytest.param(d, m, id=i) for i, d, m in bad_pngs()])
def test_bad_png(data, match):
    with pytest.raises(TensorError, match=match):
        png.decode(data, drawn().shape)


def test_png_colour_beyond_its_palette():
    data = png.encode(drawn())
    body = png._chunk(b"PLTE", bytes(3))
    start = data.index(b"PLTE") - 4
    end = start + 12 + struct.unpack(">I", data[start : start + 4])[0]
    with pytest.raises(TensorError, match="palette of 1"):
        png.decode(data[:start] + body + data[end:], drawn().shape)
