"""The store: which models there are, and which one each coach uses. One JSON file, safe against crashes and races."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codriver.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from codriver.v1 import feedback_pb2
from feedback_service.registry.files import served_files
from feedback_service.registry.inspect import CLIP, KIND_WORDS, KINDS, VLM, inspect
from feedback_service.registry.refusal import NotAModelError
from feedback_service.registry.store_file import StoreFile
from feedback_service.registry.stored_model import StoredModel

DEFAULT_DIRECTORY = Path("runs/coach")
"""Where the store is when nothing else is said, under the working directory."""
SHIPPED_DIRECTORY = Path(__file__).resolve().parents[1] / "shipped"
SHIPPED: Mapping[str, feedback_pb2.FeedbackKind] = {"clip-small": CLIP, "vlm-small": VLM}
"""Models that come with the program; each is the first choice of coaches of its kind."""
NAME_PATTERN = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,63}\Z")


class ModelStore:
    """The models of a directory, and those that are shipped.

    Every change is made under a file lock and lands in one rename, so that any number of processes may use the store
    and none of them, killed at any point, leaves half a change.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIRECTORY,
        shipped: Path = SHIPPED_DIRECTORY,
        lock_timeout_s: float = 20.0,
    ) -> None:
        """A store in a directory, which is made at the first change.

        Args:
            directory: Where ``models.json`` is.
            shipped: Where the shipped models are.
            lock_timeout_s: Longest wait for another process that changes the store.
        """
        self.directory = directory.resolve()
        self._file = StoreFile(self.directory, lock_timeout_s)
        self._shipped_directory = shipped
        self._shipped_models: dict[str, StoredModel] = {}

    def list(self) -> list[StoredModel]:
        """Every model, by name."""
        state = self._file.read()
        problems = state["problems"]
        models = {
            name: StoredModel.from_entry(name, entry, problems.get(name, ""))
            for name, entry in state["models"].items()
        }
        for name in SHIPPED:
            models[name] = self._shipped(name, problems.get(name, ""))
        return [models[name] for name in sorted(models)]

    def get(self, name: str) -> StoredModel:
        """A model.

        Raises:
            NotFoundError: Lists those that there are.
        """
        models = {model.name: model for model in self.list()}
        if name not in models:
            raise NotFoundError(
                f"there is no model {name!r} in the store; it has: {', '.join(models)}",
                reason="UNKNOWN_MODEL",
                field="name",
            )
        return models[name]

    def add(self, kind: int, path: Path, name: str = "") -> StoredModel:
        """Checks a model's directory and takes it into the store.

        Args:
            kind: What it is to answer.
            path: Its directory; it stays where it is.
            name: Name to give it. Empty: the directory's name in lower case.

        Raises:
            NotAModelError: The directory does not hold such a model.
            InvalidArgumentError: The name is not one.
            AlreadyExistsError: The name is taken.
        """
        path = path.expanduser().resolve()
        name = name or _name_of(path)
        check_name(name)
        self.check_free(name)
        found = inspect(kind, path)
        model = StoredModel.of(name, path, found)
        with self._file.change() as state:
            _check_free(name, state)
            state["models"][name] = model.entry()
        return model

    def check_free(self, name: str) -> None:
        """Refuses a name that is taken.

        Raises:
            AlreadyExistsError: It is.
        """
        _check_free(name, self._file.read())

    def refresh(self, name: str) -> StoredModel:
        """Looks at a model's directory again, as before every load: files that changed are a new version.

        Raises:
            NotFoundError: There is no such model.
            NotAModelError: The directory is gone, or does not hold a whole model any longer.
        """
        model = self.get(name)
        try:
            same = model.files is not None and model.files == served_files(model.path)
        except OSError:
            same = False
        if same and not model.shipped:
            return model
        found = inspect(model.kind, model.path)
        fresh = replace(StoredModel.of(name, model.path, found), shipped=model.shipped, problem=model.problem)
        if not model.shipped:
            with self._file.change() as state:
                if name in state["models"]:
                    state["models"][name] = fresh.entry()
        return fresh

    def remove(self, name: str) -> None:
        """Forgets a model. Its directory stays, unless the store itself made it.

        Raises:
            NotFoundError: There is no such model.
            FailedPreconditionError: It is shipped, or a coach uses it.
        """
        if name in SHIPPED:
            raise FailedPreconditionError(f"{name} comes with codriver and stays in the store")
        model = self.get(name)
        with self._file.change() as state:
            if users := sorted(coach for coach, used in state["coaches"].items() if used == name):
                raise FailedPreconditionError(
                    f"coach {', '.join(users)} uses {name}",
                    reason="MODEL_IN_USE",
                    hint=f"Give it another model first: codriver models use NAME --coach {users[0]}.",
                )
            state["models"].pop(name, None)
            state["problems"].pop(name, None)
        if model.path.parent == self.made_directory:
            shutil.rmtree(model.path, ignore_errors=True)

    @property
    def made_directory(self) -> Path:
        """Where directories are that the store makes itself."""
        return self.directory / "models"

    def in_use(self, coach: str, kind: int = 0) -> str:
        """The model that a coach uses: what was chosen for it, or else the shipped one of its kind.

        Args:
            coach: Its name.
            kind: Its kind. 0: as its name says, ``vlm`` or ``clip``.

        Raises:
            NotFoundError: Nothing was chosen, and no kind is known.
        """
        chosen: str | None = self._file.read()["coaches"].get(coach)
        if chosen is not None:
            return chosen
        kind = kind or KINDS.get(coach, 0)
        for name, shipped_kind in SHIPPED.items():
            if shipped_kind == kind:
                return name
        raise NotFoundError(f"no model was ever chosen for coach {coach!r}", field="coach")

    def coaches(self) -> dict[str, str]:
        """The model that was chosen, by coach; ``vlm`` and ``clip`` are always there."""
        defaults = {KIND_WORDS[kind]: name for name, kind in SHIPPED.items()}
        return {**defaults, **self._file.read()["coaches"]}

    def set_in_use(self, coach: str, name: str) -> None:
        """Notes that a coach uses a model from now on, also after a restart.

        Raises:
            NotFoundError: There is no such model.
        """
        self.get(name)
        with self._file.change() as state:
            if name not in SHIPPED and name not in state["models"]:
                raise NotFoundError(f"model {name!r} was removed meanwhile", field="name")
            state["coaches"][coach] = name

    def set_problem(self, name: str, problem: str) -> None:
        """Notes why a model could not be loaded; empty: it could."""
        if self._file.read()["problems"].get(name, "") == problem:
            return
        with self._file.change() as state:
            if problem and (name in SHIPPED or name in state["models"]):
                state["problems"][name] = problem
            else:
                state["problems"].pop(name, None)

    def _shipped(self, name: str, problem: str) -> StoredModel:
        path = self._shipped_directory / name
        cached = self._shipped_models.get(name)
        try:
            if cached is None or cached.files != served_files(path):
                cached = StoredModel.of(name, path, inspect(SHIPPED[name], path))
                self._shipped_models[name] = cached
        except (NotAModelError, OSError) as error:
            return StoredModel(name, SHIPPED[name], path, shipped=True, problem=problem or str(error))
        return replace(cached, shipped=True, problem=problem)


def check_name(name: str) -> None:
    """Refuses what cannot be the name of a model.

    Raises:
        InvalidArgumentError: It is not a name.
    """
    if not NAME_PATTERN.match(name):
        raise InvalidArgumentError(
            f"{name!r} is not 1 to 64 of a-z, 0-9, '.', '_' and '-'",
            field="name",
            hint="Give another one with --name.",
        )


def _name_of(path: Path) -> str:
    return re.sub(r"[^a-z0-9._-]", "-", path.name.lower())


def _check_free(name: str, state: Mapping[str, Any]) -> None:
    if name in SHIPPED or name in state["models"]:
        raise AlreadyExistsError(
            f"there is a model {name!r} already", field="name", hint="Give another one with --name."
        )
