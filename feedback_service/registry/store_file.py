"""The store's file: JSON that is read whole, and changed under a lock in one rename."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codriver.errors import FailedPreconditionError, UnavailableError
from feedback_service.registry.files import write_whole
from feedback_service.registry.stored_model import StoredModel

FORMAT = "codriver-models/1"
FILE = "models.json"
_PARTS = ("models", "coaches", "problems")


class StoreFile:
    """``models.json`` of a directory: models by name, the model of each coach, and what went wrong with a model."""

    def __init__(self, directory: Path, lock_timeout_s: float = 20.0) -> None:
        """A file in a directory; both are made at the first change. The lock is waited for so long."""
        self._directory, self._lock_timeout_s = directory, lock_timeout_s

    def read(self) -> dict[str, Any]:
        """The state: ``models``, ``coaches`` and ``problems``. Writers never leave half a file, so no lock is taken.

        Raises:
            FailedPreconditionError: The file is damaged, or of another release.
        """
        path = self._directory / FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {"format": FORMAT, **{part: {} for part in _PARTS}}
        except (OSError, ValueError) as error:
            raise FailedPreconditionError(f"the store {path} cannot be read: {error}") from None
        return _parse(path, text)

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """The state under the lock; it is written when the block ends without an error.

        Raises:
            FailedPreconditionError: The file is damaged, or cannot be written.
            UnavailableError: Another process holds the lock.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with (self._directory / f".{FILE}.lock").open("w", encoding="utf-8") as lock:
                _lock(lock.fileno(), self._directory, self._lock_timeout_s)
                state = self.read()
                yield state
                write_whole(self._directory / FILE, json.dumps(state, indent=1) + "\n")
        except OSError as error:
            raise FailedPreconditionError(
                f"the store {self._directory} cannot be written: {error.strerror or error}"
            ) from None


def _lock(descriptor: int, directory: Path, timeout_s: float) -> None:
    """Takes the lock; it goes with the process, however that ends."""
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise UnavailableError(
                    f"the store {directory} is locked by another process", retry_after_s=1.0
                ) from None
            time.sleep(0.02)


def _parse(path: Path, text: str) -> dict[str, Any]:
    hint = "Move it away; models that were added have to be added again."
    try:
        state: dict[str, Any] = json.loads(text)
        if state["format"] != FORMAT:
            hint = "Use the release that wrote it, or move it away."
            raise ValueError(f"its format is {state['format']!r}, this release reads {FORMAT!r}")
        for key in _PARTS:
            if not isinstance(state[key], dict):
                raise ValueError(f"{key} is not an object")
        for name, entry in state["models"].items():
            StoredModel.from_entry(name, entry)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else error
        raise FailedPreconditionError(f"the store {path} is damaged: {detail}", hint=hint) from None
    return state
