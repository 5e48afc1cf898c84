"""PNG with nothing but zlib and numpy (``ENCODING_PNG``): 8 bits a sample, not interlaced, grey, RGB or palette.

The encoder writes a palette file where 256 colours are enough, as for drawn bird's-eye views. The decoder knows
all five filters, checks every checksum, and never inflates more than the expected picture needs, whatever the
bytes say. Layout as in the PNG specification (third edition), sections 5 and 9.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, List, Sequence, Tuple

import numpy as np

from codriver.codecs import png_filters
from codriver.errors import TensorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_FILE_BYTES = 64 * 1024 * 1024
GREY, RGB, PALETTE = 0, 2, 3
_SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1}


def encode(picture: NDArray[np.uint8], level: int = 3) -> bytes:
    """One PNG file for a picture.

    Args:
        picture: (H, W) or (H, W, 3) uint8.
        level: zlib level, 0 to 9.

    Raises:
        TensorError: The array is no such picture.
    """
    if (
        picture.dtype != np.uint8
        or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3))
        or 0 in picture.shape
    ):
        raise TensorError(f"a picture must be uint8 (H, W) or (H, W, 3), not {picture.dtype} {picture.shape}")
    height, width = picture.shape[:2]
    kind, extra, lines = RGB, b"", picture.reshape(height, -1)
    if picture.ndim == 2:
        kind = GREY
    else:
        colours = _palette(picture)
        if colours is not None:
            palette, lines = colours
            kind, extra = PALETTE, _chunk(b"PLTE", palette.tobytes())
    # Drawn pictures compress best unfiltered; photographs would like filters, but size is no concern there.
    filtered = np.zeros((height, lines.shape[1] + 1), np.uint8)
    filtered[:, 1:] = lines
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    body = zlib.compress(filtered.tobytes(), level)
    return SIGNATURE + _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def decode(data: bytes, shape: Sequence[int], name: str = "picture") -> NDArray[np.uint8]:
    """The picture of a PNG file.

    Args:
        data: The file.
        shape: Expected shape, (H, W) for grey files or (H, W, 3) for any; a grey file becomes equal R, G and B.
        name: Name of the tensor, for errors.

    Returns:
        uint8 array of that shape.

    Raises:
        TensorError: The bytes are no such file.
    """
    try:
        return _decode(data, tuple(shape))
    except (ValueError, zlib.error, struct.error) as error:
        raise TensorError(
            f"tensors[{name}] is not a readable PNG: {error}", field=f"tensors[{name}]"
        ) from None


def _decode(data: bytes, shape: Tuple[int, ...]) -> NDArray[np.uint8]:
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{len(data)} bytes are more than {MAX_FILE_BYTES}")
    header, palette, body = _chunks(data)
    width, height, depth, kind, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if (height, width) != shape[:2]:
        raise ValueError(f"it is {width} x {height} pixels, expected {shape[1]} x {shape[0]}")
    if depth != 8 or kind not in _SAMPLES or compression or filtering or interlace:
        raise ValueError("only 8-bit grey, RGB or palette files without interlace are supported")
    if len(shape) == 2 and kind != GREY:
        raise ValueError("it has colours, expected a grey file")
    if kind == PALETTE and (palette is None or not 3 <= len(palette) <= 768 or len(palette) % 3):
        raise ValueError("its palette is missing or malformed")
    samples = _SAMPLES[kind]
    expected = height * (width * samples + 1)
    lines = png_filters.unfilter(_inflate(body, expected), height, width, samples)
    if kind == PALETTE:
        assert palette is not None
        colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        if int(lines.max()) >= len(colours):
            raise ValueError(f"it uses colour {int(lines.max())} of a palette of {len(colours)}")
        return colours[lines[:, :, 0]]
    if kind == GREY and len(shape) == 3:
        return np.repeat(lines, 3, axis=2)
    return lines.reshape(shape)


def _chunks(data: bytes) -> Tuple[bytes, bytes | None, List[bytes]]:
    """Header, palette and compressed pieces; every checksum is verified, unknown ancillary chunks are skipped."""
    if not data.startswith(SIGNATURE):
        raise ValueError("it does not begin with the PNG signature")
    header, palette, body, position, kind = b"", None, [], len(SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise ValueError("it ends before its last chunk")
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ValueError("a chunk is longer than the file")
        kind, content = data[position + 4 : position + 8], data[position + 8 : end - 4]
        if zlib.crc32(data[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ValueError(f"the checksum of chunk {kind!r} is wrong")
        if (kind == b"IHDR") != (position == len(SIGNATURE)):
            raise ValueError("its header is missing or in the wrong place")
        if kind == b"IHDR":
            header = content
        elif kind == b"PLTE":
            palette = content
        elif kind == b"IDAT":
            body.append(content)
        elif kind != b"IEND" and not kind[0] & 0x20:
            raise ValueError(f"chunk {kind!r} is not known")
        position = end
    if position != len(data):
        raise ValueError("bytes follow its end")
    return header, palette, body


def _inflate(body: List[bytes], expected: int) -> bytes:
    stream = zlib.decompressobj()
    pixels = stream.decompress(b"".join(body), expected + 1)
    if len(pixels) != expected or not stream.eof:
        raise ValueError(f"its pixel data are not the expected {expected} bytes")
    return pixels


def _palette(picture: NDArray[np.uint8]) -> Tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Colours (K, 3) and indices (H, W) of a picture with at most 256 colours; None when it has more."""
    code = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    # np.unique sorts all pixels; runs of equal colour are first merged, which leaves few in a drawn picture.
    flat = code.ravel()
    colours = np.unique(flat[np.flatnonzero(np.diff(flat, prepend=flat[:1] + np.uint32(1)))])
    if len(colours) > 256:
        return None
    index = np.searchsorted(colours, code).astype(np.uint8)
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
    return rgb, index


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
