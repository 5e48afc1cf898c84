"""Frames between front and model: whatever way the bytes are cut, the same frames come out."""

import socket
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_server.model.framing import Unpacker, pack, receive

FRAMES = st.lists(
    st.tuples(st.dictionaries(st.text(max_size=5), st.integers()), st.lists(st.binary(max_size=50)))
)


@given(FRAMES, st.integers(1, 40))
def test_unpacker_takes_bytes_in_any_pieces(frames, piece):
    stream = b"".join(pack(header, blobs) for header, blobs in frames)
    unpacker, found = Unpacker(), []
    for start in range(0, len(stream), piece):
        found += list(unpacker.feed(stream[start : start + piece]))
    assert found == [(header, b"".join(blobs)) for header, blobs in frames]


@settings(max_examples=20)
@given(FRAMES)
def test_receive_reads_frame_after_frame_to_the_end(frames):
    ours, theirs = socket.socketpair()
    stream = b"".join(pack(header, blobs) for header, blobs in frames)
    with ours:
        writer = threading.Thread(target=lambda: (theirs.sendall(stream), theirs.close()))
        writer.start()
        found = []
        while (frame := receive(ours)) is not None:
            found.append((frame[0], bytes(frame[1])))
        writer.join()
    assert found == [(header, b"".join(blobs)) for header, blobs in frames]


def test_half_a_frame_is_the_end():
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(pack({"a": 1}, [b"xyz"])[:-1])
        theirs.close()
        assert receive(ours) is None
