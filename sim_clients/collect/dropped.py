"""Episodes of which nothing was worth keeping: remembered, so that a resumed collection does not drive them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codriver.dataset import DatasetError

FILE_NAME = "dropped.jsonl"


class DroppedEpisodes:
    """The episodes of a dataset that were cut away entirely; a line of JSON each.

    What is cut depends on who drove and how, so an episode is known only to runs of the same provenance.

    Args:
        directory: The dataset.
        provenance: Facts of this run.

    Raises:
        DatasetError: The file is damaged.
    """

    def __init__(self, directory: Path, provenance: dict[str, Any]) -> None:
        self._path = directory / FILE_NAME
        self._provenance = json.loads(json.dumps(provenance))
        self._ids: set[str] = set()
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                entry = json.loads(line)
                if entry["provenance"] == self._provenance:
                    self._ids.add(str(entry["id"]))
            except (ValueError, KeyError, TypeError) as error:
                raise DatasetError(
                    f"{self._path}, line {number}, is damaged", hint="remove the line"
                ) from error

    def __contains__(self, episode: object) -> bool:
        return episode in self._ids

    def add(self, episode: str) -> None:
        """Remembers an episode."""
        self._ids.add(episode)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"id": episode, "provenance": self._provenance}) + "\n")
