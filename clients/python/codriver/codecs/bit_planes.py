"""Palette bit-planes: masks whose channels know few levels, packed without loss (``ENCODING_BIT_PLANES``).

Layout of a row: for each channel in order, ``ceil(log2(levels))`` planes, least significant bit of the palette
index first; a plane is height * width bits, row by row, the first pixel in the most significant bit of the first
byte, padded with zero bits to a whole byte. The BEV masks of Found-RL (15x96x96, 3 channels of 3 levels, 8 of 2,
4 of 4) are 22 planes of 1,152 bytes.

Neighbouring channels with equal palettes are worked on at once. Unpacking
looks up eight pixels at once: a byte of a plane (two bytes for two planes) becomes a 64-bit word of pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, List, NamedTuple, Sequence, Tuple

import numpy as np

from codriver.errors import TensorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Levels = Tuple[bytes, ...]
"""One palette a channel: the levels in index order."""


class _Group(NamedTuple):
    """Neighbouring channels with one palette: channels [channel, channel + channels), planes [plane, ...)."""

    levels: bytes
    bits: int
    channel: int
    plane: int
    channels: int


def planes_per_row(palettes: Sequence[bytes]) -> int:
    """Number of planes of a row: the sum of ``ceil(log2(levels))`` over the channels."""
    return sum(_bits(levels) for levels in palettes)


def row_nbytes(palettes: Sequence[bytes], height: int, width: int) -> int:
    """Size of a packed row, in bytes."""
    return planes_per_row(palettes) * _plane_nbytes(height * width)


def pack(
    rows: NDArray[np.uint8], palettes: Sequence[bytes], name: str = "", channel_names: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Packs rows of masks.

    Args:
        rows: (N, C, H, W) uint8; every value of a channel is one of its levels.
        palettes: C palettes of 2 to 256 distinct levels.
        name: Name of the tensor, for errors.
        channel_names: Names of the channels, for errors.

    Returns:
        (N, nbytes) uint8, C-contiguous.

    Raises:
        TensorError: A channel holds a value that its palette does not know.
    """
    count, _, height, width = rows.shape
    pixels, nbytes = height * width, _plane_nbytes(height * width)
    flat = np.ascontiguousarray(rows).reshape(count, rows.shape[1], pixels)
    packed = np.empty((count, planes_per_row(palettes), nbytes), np.uint8)
    groups = _groups(tuple(palettes))
    # A row at a time stays in the processor's cache, which beats one step over all rows.
    for row in range(count):
        for group in groups:
            part = flat[row, group.channel : group.channel + group.channels]
            if not _pack_group(
                part, group, packed[row, group.plane : group.plane + group.channels * group.bits]
            ):
                raise _unknown_value(part, row, group, name, channel_names)
    return packed.reshape(count, packed.shape[1] * nbytes)


def unpack(
    data: NDArray[np.uint8], palettes: Sequence[bytes], height: int, width: int, name: str = ""
) -> NDArray[np.uint8]:
    """Unpacks rows of masks: the inverse of :func:`pack`.

    Args:
        data: (N, nbytes) uint8.
        palettes: C palettes.
        height: Height in pixels.
        width: Width in pixels.
        name: Name of the tensor, for errors.

    Returns:
        (N, C, H, W) uint8, C-contiguous, writable.

    Raises:
        TensorError: The size is wrong, an index is beyond its palette, or padding bits are set.
    """
    pixels, nbytes = height * width, _plane_nbytes(height * width)
    planes = planes_per_row(palettes)
    if data.ndim != 2 or data.shape[1] != planes * nbytes:
        raise TensorError(
            f"{_label(name)} has {data.shape[-1]} bytes a row; {planes} planes of {nbytes} bytes are {planes * nbytes}",
            field=_label(name),
        )
    count, channels = data.shape[0], len(palettes)
    source = data.reshape(count, planes, nbytes)
    padding = nbytes * 8 - pixels
    if padding and (source[:, :, -1] & ((1 << padding) - 1)).any():
        raise TensorError(f"{_label(name)} has padding bits that are not 0", field=_label(name))
    words = np.empty((count, channels, nbytes), np.uint64)
    groups = _groups(tuple(palettes))
    for row in range(count):
        for group in groups:
            part = source[row, group.plane : group.plane + group.channels * group.bits]
            if not _unpack_group(part, group, words[row, group.channel : group.channel + group.channels]):
                raise TensorError(
                    f"{_label(name)} holds a palette index of {len(group.levels)} or more in row {row}, channels "
                    f"{group.channel} to {group.channel + group.channels - 1}, which have {len(group.levels)} levels",
                    field=_label(name),
                )
    out = words.view(np.uint8)
    return (out if not padding else np.ascontiguousarray(out[:, :, :pixels])).reshape(
        count, channels, height, width
    )


def _pack_group(part: NDArray[np.uint8], group: _Group, planes: NDArray[np.uint8]) -> bool:
    """Writes the planes (channels * bits, nbytes) of a group's (channels, pixels); False when a value is unknown."""
    if len(group.levels) > 16:
        content = part.tobytes()
        index = np.frombuffer(content.translate(_index_table(group.levels)), np.uint8).reshape(part.shape)
        for bit in range(group.bits):
            planes[bit :: group.bits] = np.packbits(index >> bit & 1, axis=-1)
        return b"\0" not in content.translate(_known_table(group.levels))
    hits = [part == level for level in group.levels]
    for bit in range(group.bits):
        members = [hit for index, hit in enumerate(hits) if index >> bit & 1]
        plane = members[0] if len(members) == 1 else np.logical_or.reduce(members)
        planes[bit :: group.bits] = np.packbits(plane, axis=-1)
    return bool(np.logical_or.reduce(hits).all())


def _unpack_group(part: NDArray[np.uint8], group: _Group, words: NDArray[np.uint64]) -> bool:
    """Writes the pixels of a group's planes, eight to a word; False when an index is beyond the palette."""
    if group.bits == 1:
        np.take(_words(group.levels), part, out=words, mode="clip")
        return True
    if group.bits == 2:
        low, high = part[0::2], part[1::2]
        if len(group.levels) == 3 and np.bitwise_and(low, high).any():
            return False
        np.take(_words(group.levels), low | high.astype(np.uint16) << 8, out=words, mode="clip")
        return True
    bits = np.unpackbits(part, axis=-1)
    index: NDArray[Any] = bits[0 :: group.bits]
    for bit in range(1, group.bits):
        index = index | bits[bit :: group.bits] << bit
    # Padding bits are 0 and stand for index 0, which every palette has.
    if int(index.max()) >= len(group.levels):
        return False
    words.view(np.uint8)[...] = np.frombuffer(
        index.tobytes().translate(group.levels.ljust(256, b"\0")), np.uint8
    ).reshape(index.shape)
    return True


@lru_cache(maxsize=64)
def _words(levels: bytes) -> NDArray[np.uint64]:
    """Eight pixels for each byte of one plane (256 words) or of two planes (65,536 words, second plane high)."""
    known = np.frombuffer(levels.ljust(4, b"\0"), np.uint8)
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    index = bits if len(levels) == 2 else (bits[None, :] | bits[:, None] << 1).reshape(-1, 8)
    return np.ascontiguousarray(known[index]).view(np.uint64).ravel()


@lru_cache(maxsize=64)
def _index_table(levels: bytes) -> bytes:
    table = bytearray(256)
    for index, level in enumerate(levels):
        table[level] = index
    return bytes(table)


@lru_cache(maxsize=64)
def _known_table(levels: bytes) -> bytes:
    return bytes(int(value in levels) for value in range(256))


@lru_cache(maxsize=64)
def _groups(palettes: Levels) -> Tuple[_Group, ...]:
    groups: List[_Group] = []
    plane = 0
    for channel, levels in enumerate(palettes):
        if groups and groups[-1].levels == levels:
            groups[-1] = groups[-1]._replace(channels=groups[-1].channels + 1)
        else:
            groups.append(_Group(levels, _bits(levels), channel, plane, 1))
        plane += _bits(levels)
    return tuple(groups)


def _bits(levels: bytes) -> int:
    return max(1, (len(levels) - 1).bit_length())


def _plane_nbytes(pixels: int) -> int:
    return (pixels + 7) // 8


def _label(name: str) -> str:
    return f"tensors[{name}]"


def _unknown_value(
    part: NDArray[Any], row: int, group: _Group, name: str, channel_names: Sequence[str]
) -> TensorError:
    channel, pixel = np.argwhere(~np.isin(part, list(group.levels)))[0]
    index = group.channel + int(channel)
    label = f"channel {index}" + (f" ({channel_names[index]})" if index < len(channel_names) else "")
    return TensorError(
        f"{_label(name)} {label} holds the value {int(part[channel, pixel])} in row {row}; "
        f"its palette is {list(group.levels)}",
        field=_label(name),
    )
