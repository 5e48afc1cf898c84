"""One model of the store, as a value, as a JSON entry and as a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codriver.v1 import feedback_admin_service_pb2 as pb
from codriver.v1 import feedback_pb2
from feedback_service.registry.inspect import KIND_WORDS, KINDS, Inspected


@dataclass(frozen=True)
class StoredModel:
    """A model of the store.

    Attributes:
        name: Unique in the store.
        kind: What it can answer.
        path: Its directory, absolute.
        family: As :class:`feedback_service.registry.inspect.Inspected` has it. Empty: the directory is not readable.
        version: First 12 hex digits of a SHA-256 over its files.
        parameters: Numbers in its weights; 0: not known.
        files: Size in bytes and time of change in nanoseconds of its files, by name.
        shipped: It comes with the program.
        problem: Why it could not be loaded the last time. Empty: it could, or was never tried.
    """

    name: str
    kind: feedback_pb2.FeedbackKind
    path: Path
    family: str = ""
    version: str = ""
    parameters: int = 0
    files: Mapping[str, tuple[int, int]] | None = None
    shipped: bool = False
    problem: str = ""

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(size for size, _ in (self.files or {}).values())

    def message(self, coaches: Mapping[str, str] | None = None) -> pb.CoachModel:
        """The model as a message.

        Args:
            coaches: Model that each coach uses, by the coach's name.
        """
        return pb.CoachModel(
            name=self.name,
            kind=self.kind,
            path=str(self.path),
            family=self.family,
            version=self.version,
            parameters=self.parameters,
            coaches=sorted(coach for coach, name in (coaches or {}).items() if name == self.name),
            problem=self.problem,
        )

    def entry(self) -> dict[str, Any]:
        """The model as the store's file has it."""
        return {
            "kind": KIND_WORDS[self.kind],
            "path": str(self.path),
            "family": self.family,
            "version": self.version,
            "parameters": self.parameters,
            "files": {file: list(facts) for file, facts in (self.files or {}).items()},
        }

    @classmethod
    def from_entry(cls, name: str, entry: Mapping[str, Any], problem: str = "") -> StoredModel:
        """Reads what :meth:`entry` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: It is something else.
        """
        return cls(
            name=name,
            kind=KINDS[entry["kind"]],
            path=Path(entry["path"]),
            family=str(entry["family"]),
            version=str(entry["version"]),
            parameters=int(entry["parameters"]),
            files={file: (int(size), int(changed)) for file, (size, changed) in entry["files"].items()},
            problem=problem,
        )

    @classmethod
    def of(cls, name: str, path: Path, found: Inspected) -> StoredModel:
        """The model of an inspected directory."""
        return cls(name, found.kind, path, found.family, found.version, found.parameters, found.files)
