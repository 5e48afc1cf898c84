"""The model repository of a Triton as the registry's switch uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codriver.v1 import feedback_pb2
from feedback_service.triton.repository import ModelOptions, install_model, remove_model


class RepositoryPlace:
    """A :class:`feedback_service.registry.model_place.ModelPlace`.

    Args:
        repository: Answers the repository's folder; raises ``OSError`` or ``RuntimeError`` while there is none.
        options: How models run.
        end_stubs: Kills a model's processes, where they run on this machine.
    """

    def __init__(
        self,
        repository: Callable[[], Path],
        options: ModelOptions,
        end_stubs: Callable[[str], int] = lambda model: 0,
    ) -> None:
        self._repository, self._options, self._end_stubs = repository, options, end_stubs

    def install(self, triton_model: str, kind: feedback_pb2.FeedbackKind, directory: Path) -> None:
        """Puts a model there under a name, whole or not at all."""
        install_model(self._folder(), triton_model, kind, directory, self._options)

    def remove(self, triton_model: str) -> None:
        """Takes it away; no error where it is not there."""
        remove_model(self._folder(), triton_model)

    def end(self, triton_model: str) -> None:
        """Ends processes of the model that hang."""
        self._folder()
        self._end_stubs(triton_model)

    def names(self) -> list[str]:
        """Names of the models that are there."""
        return sorted(path.name for path in self._folder().iterdir() if path.is_dir())

    def _folder(self) -> Path:
        try:
            return self._repository()
        except RuntimeError as error:
            raise OSError(str(error)) from None
