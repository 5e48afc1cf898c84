"""Frames between the front process and the model's process: a JSON header and blobs, over a socket pair.

Both ends are the same release of this program on one machine, parent and child.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

_LENGTHS = struct.Struct("<II")  # of the header and of the blobs together
Blob = bytes | memoryview


def pack(header: dict[str, Any], blobs: Sequence[Blob] = ()) -> bytes:
    """One frame as bytes."""
    text = json.dumps(header).encode()
    return b"".join((_LENGTHS.pack(len(text), sum(map(len, blobs))), text, *blobs))


def receive(sock: socket.socket) -> tuple[dict[str, Any], memoryview] | None:
    """Waits for the next frame on a blocking socket: header and blobs. None: the other side has gone."""
    lengths = _exactly(sock, _LENGTHS.size)
    if lengths is None:
        return None
    header_size, blob_size = _LENGTHS.unpack(lengths)
    body = _exactly(sock, header_size + blob_size)
    if body is None:
        return None
    return json.loads(bytes(body[:header_size])), body[header_size:]


class Unpacker:
    """Cuts a byte stream into frames, for a reader that must not wait."""

    def __init__(self) -> None:
        """An empty one."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Takes bytes as they come; yields the frames that are complete: header and blobs."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _LENGTHS.size:
            header_size, blob_size = _LENGTHS.unpack_from(self._buffer, at)
            start = at + _LENGTHS.size
            middle, end = start + header_size, start + header_size + blob_size
            if len(self._buffer) < end:
                break
            frame = json.loads(self._buffer[start:middle]), bytes(self._buffer[middle:end])
            at = end
            yield frame
        del self._buffer[:at]


def _exactly(sock: socket.socket, count: int) -> memoryview | None:
    view = memoryview(bytearray(count))
    done = 0
    while done < count:
        try:
            got = sock.recv_into(view[done:])
        except ConnectionError:
            return None
        if not got:
            return None
        done += got
    return view
