"""Stand-ins for libraries of the window system are real shared libraries, and cover what libsumo asks for."""

from __future__ import annotations

import ctypes
import os
import platform

import pytest

from sim_clients.sumo import stand_ins

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="64-bit Linux only",
)


def load(image):
    handle = os.memfd_create("image")
    os.write(handle, image)
    return ctypes.CDLL(f"/proc/self/fd/{handle}", mode=os.RTLD_NOW)


def test_functions_return_0():
    library = load(
        stand_ins.shared_library("libstandin-a.so.1", [b"XOpenNothing", b"XDoNothing", b"_XHidden"])
    )
    assert [library.XOpenNothing(7), library.XDoNothing(), library._XHidden(1, 2)] == [0, 0, 0]
    with pytest.raises(AttributeError, match="XOpenSomething"):
        _ = library.XOpenSomething


def test_found_by_its_name_and_only_once_loaded():
    with pytest.raises(OSError, match="libstandin-b"):
        ctypes.CDLL("libstandin-b.so.1")
    library = load(stand_ins.shared_library("libstandin-b.so.1", []))
    assert ctypes.CDLL("libstandin-b.so.1")._handle == library._handle


def test_symbols_of_one_another_are_not_missing(tmp_path):
    """What a file of the set defines is not asked of others; nothing in a library that imports nothing is asked for."""
    tmp_path.joinpath("a.so").write_bytes(stand_ins.shared_library("a", [b"XOwn"]))
    assert stand_ins.undefined_symbols([tmp_path / "a.so"]) == []


def test_covers_what_libsumo_asks_of_the_window_system():
    pytest.importorskip("libsumo")
    asked = stand_ins.undefined_symbols(stand_ins._libsumo_files())
    covered = [name for name in asked if any(pattern.match(name) for pattern in stand_ins.LIBRARIES.values())]
    assert {b"XOpenDisplay", b"XCreateWindow", b"XRenderFillRectangle", b"glBegin"} <= set(covered)
    # expat and OpenSSL are real on every machine and must not be stood in for
    assert not [name for name in covered if name.startswith((b"XML_", b"X509_"))]


def test_nothing_stands_in_where_the_real_ones_are():
    """Where libsumo's libraries are all installed, none is made; where not, only the missing ones."""
    missing = []
    for name in stand_ins.LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(name)
    assert stand_ins.provide() == missing
