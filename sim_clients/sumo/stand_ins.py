"""Stand-ins for the window system's libraries, so that libsumo loads on machines without one.

libsumo's wheel contains SUMO's GUI and is therefore linked to libX11, libGL and their like, which a server or a
container does not have. Nothing of them is ever called when a simulation runs without a window. For each one that is
missing, an empty shared library of that name is put together in memory and loaded before libsumo; its functions do
nothing and return 0. Where the real ones are installed, they are used.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

LIBRARIES = {
    "libX11.so.6": re.compile(rb"_?X(?!ML_)[a-zA-Z]"),  # XML_ is expat, which Python brings
    "libXext.so.6": re.compile(rb"X(Shape|Shm|Sync|mbuf|ext)"),
    "libXrender.so.1": re.compile(rb"XRender"),
    "libGL.so.1": re.compile(rb"gl[A-Z]"),
    "libatomic.so.1": re.compile(rb"(?!)"),  # linked to, but nothing of it is used
}
"""What libsumo is linked to beside the C and C++ libraries, and what the functions of each are called."""

_RETURN_0 = {"x86_64": (62, b"\x31\xc0\xc3"), "aarch64": (183, b"\x00\x00\x80\xd2\xc0\x03\x5f\xd6")}
"""ELF's number of each machine, and its code for a function that returns 0."""

_PAGE = 0x10000
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8", 2)]
)
_DYNSYM = 11

_loaded: list[int] = []


def provide() -> list[str]:
    """Loads a stand-in for every library of the window system that this machine lacks.

    Returns:
        Their names; empty where nothing was missing, and on machines other than 64-bit Linux, where libsumo's own
        error has to do.
    """
    if platform.system() != "Linux" or platform.machine() not in _RETURN_0:
        return []
    missing = [name for name in LIBRARIES if not _loads(name)]
    if not missing:
        return []
    wanted = undefined_symbols(_libsumo_files())
    for name in missing:
        image = shared_library(name, [symbol for symbol in wanted if LIBRARIES[name].match(symbol)])
        handle = os.memfd_create(name)
        os.write(handle, image)
        ctypes.CDLL(f"/proc/self/fd/{handle}", mode=os.RTLD_NOW | os.RTLD_GLOBAL)
        _loaded.append(handle)  # stays open: the loader tells libraries apart by file
    return missing


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _libsumo_files() -> list[Path]:
    """The extension module and the libraries that its wheel brings along; none where libsumo is not installed."""
    spec = importlib.util.find_spec("libsumo")
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent
    return [*package.glob("*.so"), *package.parent.joinpath("libsumo.libs").glob("*.so*")]


def undefined_symbols(files: Iterable[Path]) -> list[bytes]:
    """Names beginning `X`, `_X` or `gl` that 64-bit little-endian ELF files use and none of them defines."""
    used: set[bytes] = set()
    defined: set[bytes] = set()
    for path in files:
        data = path.read_bytes()
        start, size, strings = _dynamic_symbols(data)
        table = np.frombuffer(data, _SYMBOL, size // _SYMBOL.itemsize, start)
        text = np.frombuffer(data, np.uint8)
        first, second = text[table["name"] + strings], text[table["name"] + strings + 1]
        few = (first == ord("X")) | ((first == ord("_")) & (second == ord("X")))
        few |= (first == ord("g")) & (second == ord("l"))
        for entry, section in table[few][["name", "section"]].tolist():
            name = data[strings + entry : data.index(b"\0", strings + entry)]
            (defined if section else used).add(name)
    return sorted(used - defined)


def _dynamic_symbols(data: bytes) -> tuple[int, int, int]:
    """Offset and size of the dynamic symbol table, and offset of its strings."""
    (table,) = struct.unpack_from("<Q", data, 40)
    width, count = struct.unpack_from("<HH", data, 58)
    for index in range(count):
        _, kind, _, _, offset, size, link = struct.unpack_from("<IIQQQQI", data, table + index * width)
        if kind == _DYNSYM:
            return offset, size, struct.unpack_from("<Q", data, table + link * width + 24)[0]
    return 0, 0, 0


def shared_library(name: str, functions: list[bytes]) -> bytes:
    """A 64-bit ELF shared library in which every function returns 0.

    Args:
        name: Its SONAME, by which the loader finds that it is there already.
        functions: The names that it exports.
    """
    machine, code = _RETURN_0[platform.machine()]
    strings = b"\0" + name.encode() + b"\0"
    symbols = bytes(24)
    text = 64 + 4 * 56
    for function in functions:
        symbols += struct.pack("<IBBHQQ", len(strings), 0x12, 0, 1, text, len(code))
        strings += function + b"\0"
    count = len(functions) + 1
    # one bucket whose chain goes through all symbols: few enough to search one by one
    chain = [0, *range(2, count), 0][:count]
    hashes = struct.pack(f"<II{1 + count}I", 1, count, 1 if functions else 0, *chain)
    at_symbols = text + 16
    at_hashes = at_symbols + len(symbols)
    at_strings = at_hashes + len(hashes)
    end = at_strings + len(strings)
    at_dynamic = -(-end // _PAGE) * _PAGE
    tags = ((14, 1), (4, at_hashes), (5, at_strings), (6, at_symbols), (10, len(strings)), (11, 24), (0, 0))
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    segments = (
        (1, 5, 0, end, _PAGE),
        (1, 6, at_dynamic, len(dynamic), _PAGE),
        (2, 6, at_dynamic, len(dynamic), 8),
        (0x6474E551, 6, 0, 0, 16),  # a stack that is not executable
    )
    for kind, flags, at, size, align in segments:
        header += struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, align)
    image = header + code.ljust(16, b"\0") + symbols + hashes + strings
    return image.ljust(at_dynamic, b"\0") + dynamic
