"""Where Triton finds a model: what the switch needs of a model repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from codriver.v1 import feedback_pb2
from feedback_service.triton.repository import ModelOptions, install_model, remove_model
from feedback_service.triton.stubs import end_stubs


class ModelPlace(Protocol):
    """A model repository that this service may write. Methods may block; they run on a thread."""

    def install(self, triton_model: str, kind: feedback_pb2.FeedbackKind, directory: Path) -> None:
        """Puts a model there under a name, whole or not at all.

        Args:
            triton_model: Its name at Triton.
            kind: What it answers.
            directory: The model's own directory, as Triton's machine sees it.

        Raises:
            OSError: It cannot be written.
        """

    def remove(self, triton_model: str) -> None:
        """Takes it away; no error where it is not there.

        Raises:
            OSError: It cannot be written.
        """

    def end(self, triton_model: str) -> None:
        """Ends processes of the model that hang, where they run on this machine."""

    def names(self) -> list[str]:
        """Names of the models that are there.

        Raises:
            OSError: It cannot be read.
        """


class RepositoryFolder:
    """A model repository in a directory.

    Args:
        directory: Triton's model repository, by the path that Triton was given.
        options: How models run, by kind; others run as by default.
    """

    def __init__(self, directory: Path, options: Mapping[int, ModelOptions] | None = None) -> None:
        self._directory, self._options = directory, dict(options or {})

    def install(self, triton_model: str, kind: feedback_pb2.FeedbackKind, directory: Path) -> None:
        """Puts a model there."""
        install_model(self._directory, triton_model, kind, directory, self._options.get(kind))

    def remove(self, triton_model: str) -> None:
        """Takes it away."""
        remove_model(self._directory, triton_model)

    def end(self, triton_model: str) -> None:
        """Ends its processes."""
        end_stubs(self._directory, triton_model)

    def names(self) -> list[str]:
        """Names of the models that are there."""
        return [path.name for path in self._directory.iterdir() if path.is_dir()]
