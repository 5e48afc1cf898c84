"""Files: whole or not at all, hashed, and recognised when they change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

_SERVED = (".json", ".safetensors", ".txt", ".model", ".jinja", ".tiktoken")
"""Endings of the files that a loaded model comes from; a README beside them is not a new version."""
_CHUNK_BYTES = 1 << 20


def write_whole(path: Path, text: str) -> None:
    """Writes a file that readers see whole or not at all, also after a crash of the machine."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def served_files(directory: Path) -> dict[str, tuple[int, int]]:
    """Size in bytes and time of change in nanoseconds of each file that belongs to a model, by name."""
    found = {}
    for path in sorted(directory.iterdir()):
        if path.suffix in _SERVED and not path.name.startswith(".") and path.is_file():
            facts = path.stat()
            found[path.name] = (facts.st_size, facts.st_mtime_ns)
    return found


def version_of(directory: Path, files: Mapping[str, object]) -> str:
    """First 12 hex digits of a SHA-256 over the names and contents of a model's files."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{sha256_of(directory / name)}\n".encode())
    return digest.hexdigest()[:12]
