"""Rasters on disk: a cache that may be deleted, damaged or unwritable at any time without harm."""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def default_cache_dir() -> Path:
    """The user's cache directory for codriver: $XDG_CACHE_HOME, or what the platform calls it."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "codriver"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "codriver"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "codriver"
    return Path.home() / ".cache" / "codriver"


def load(key: str, cache_dir: Path | None = None) -> tuple[NDArray[np.uint8], float, float] | None:
    """Reads a raster, or None where it is missing or unreadable.

    Returns:
        The (H, W) codes, the left edge and the upper edge in metres.
    """
    try:
        with np.load(_path(key, cache_dir), allow_pickle=False) as file:
            codes, corner = file["codes"], file["corner"]
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    if codes.ndim != 2 or codes.dtype != np.uint8 or corner.shape != (2,) or not np.isfinite(corner).all():
        return None
    return codes, float(corner[0]), float(corner[1])


def store(key: str, codes: NDArray[np.uint8], x_min_m: float, y_max_m: float, cache_dir: Path | None) -> None:
    """Writes a raster in one piece: other processes see the whole file or none.

    A disk that is full or read-only is no error.
    """
    path = _path(key, cache_dir)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, codes=codes, corner=np.array([x_min_m, y_max_m]))
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)


def _path(key: str, cache_dir: Path | None) -> Path:
    return (cache_dir or default_cache_dir()) / "rasters" / f"{key}.npz"
