"""Where Triton finds a model: what the switch needs of a model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from codriver.v1 import feedback_pb2


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
