"""The per-episode log: one JSON object a line, written as episodes end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from sim_clients.metrics.episode import EpisodeRecord

FORMAT = "codriver.episode/1"


class LogError(ValueError):
    """A log cannot be read; the message names file, line and fault."""


def append_records(path: Path, records: Iterable[EpisodeRecord]) -> None:
    """Adds records to a log, which is created if it is missing; on disk when this returns."""
    lines = [json.dumps({"format": FORMAT, **record.to_json()}, allow_nan=False) + "\n" for record in records]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path) -> list[EpisodeRecord]:
    """Reads a log.

    Raises:
        LogError: The file is missing or empty, or a line is not a record.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"cannot read the episode log {path}: {error}") from error
    records = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not records:
        raise LogError(f"the episode log {path} holds no episodes")
    return records


def _parse(path: Path, number: int, line: str) -> EpisodeRecord:
    try:
        row = json.loads(line)
        if not isinstance(row, dict) or row.pop("format", None) != FORMAT:
            raise ValueError(f"not an object with format {FORMAT!r}")
        return EpisodeRecord.from_json(row)
    except ValueError as error:
        raise LogError(f"{path}, line {number}: {error}") from error
