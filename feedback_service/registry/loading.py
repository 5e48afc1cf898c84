"""A model into Triton, proven, or out again with nothing left behind and a reason in one line."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
import time
from dataclasses import dataclass

from codriver.errors import CodriverError
from codriver.v1 import feedback_pb2
from feedback_service.desk.settings import Route
from feedback_service.registry.model_place import ModelPlace
from feedback_service.registry.store import ModelStore
from feedback_service.registry.stored_model import StoredModel
from feedback_service.registry.warm_up import warm_up
from feedback_service.triton.client import TritonClient
from feedback_service.triton.errors import TritonError, TritonReason, one_line

_log = logging.getLogger(__name__)
_POLL_S = 0.1
# "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: WHAT At: FILE(LINE): FUNCTION ...; "
_AROUND = re.compile(
    r"^load failed for model '[^']*': |version \d+ is at UNAVAILABLE state: |Internal: | At: .*|[; ]+$"
)


@dataclass(frozen=True)
class Patience:
    """Longest waits, in seconds.

    Attributes:
        load_s: For Triton to load a model.
        ready_s: For a loaded model to say that it is ready.
        warm_up_s: For its first answer.
        probe_s: For an answer of a model that is suspected to be dead.
        unload_s: For a model to be gone.
        drain_s: For the calls of a model that another one replaces.
        first_retry_s: Before loading is tried again where Triton could not be reached; doubles up to
            ``longest_retry_s``.
        longest_retry_s: See there.
    """

    load_s: float = 1200.0
    ready_s: float = 60.0
    warm_up_s: float = 300.0
    probe_s: float = 30.0
    unload_s: float = 30.0
    drain_s: float = 660.0
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0


class LoadError(Exception):
    """A model could not be loaded; the text says why, in one line.

    Attributes:
        again: Trying again may help: Triton was not there.
    """

    def __init__(self, text: str, again: bool = False) -> None:
        super().__init__(one_line(text, 600))
        self.again = again


class Loader:
    """Loads models under names of their own, so that any two can stand beside each other.

    Args:
        store: Where the models are.
        client: Of Triton.
        place: Its model repository.
        patience: Longest waits.
    """

    def __init__(
        self, store: ModelStore, client: TritonClient, place: ModelPlace, patience: Patience
    ) -> None:
        self._store, self._client, self._place, self._patience = store, client, place, patience
        # Tells the models of this store from those of others in one repository.
        self._prefix = f"codriver-{hashlib.sha256(str(store.directory).encode()).hexdigest()[:6]}-"

    async def load(self, name: str, kind: feedback_pb2.FeedbackKind) -> tuple[StoredModel, Route]:
        """Loads a model of the store and has it answer once. The outcome is noted in the store.

        Args:
            name: Its name.
            kind: What it must answer.

        Returns:
            The model as it was loaded, and the way to it.

        Raises:
            LoadError: It was not loaded, and nothing of it is left in Triton.
            CodriverError: There is no such model, or the store cannot be read.
        """
        model = await asyncio.to_thread(self._store.get, name)
        try:
            if model.kind != kind:
                raise LoadError(f"{name} does not answer what this coach is asked for")
            model = await asyncio.to_thread(self._store.refresh, name)
            route = await self._into_triton(model)
        except (LoadError, CodriverError) as error:
            failure = error if isinstance(error, LoadError) else LoadError(str(error))
            if not failure.again:
                await self._note(name, str(failure))
            raise failure from error
        await self._note(name, "")
        return model, route

    async def discard(self, triton_model: str, hangs: bool = False) -> None:
        """Unloads a model and takes it out of the repository. Faults are logged.

        Args:
            triton_model: Its name at Triton.
            hangs: Its processes are ended first; an unload would wait for them.
        """
        try:
            if hangs:
                await asyncio.to_thread(self._place.end, triton_model)
            await self._client.unload(triton_model, self._patience.unload_s)
            give_up = time.monotonic() + self._patience.unload_s
            while await self._client.model_ready(triton_model, 5.0) and time.monotonic() < give_up:
                await asyncio.sleep(_POLL_S)
        except (TritonError, OSError) as error:
            _log.warning("unloading %s: %s", triton_model, error)
        try:
            await asyncio.to_thread(self._place.remove, triton_model)
        except OSError as error:
            _log.warning("%s stays in the model repository: %s", triton_model, error)

    async def discard_leftovers(self) -> None:
        """Takes out what an earlier service of the same store left in a repository that outlives it."""
        try:
            names = await asyncio.to_thread(self._place.names)
        except OSError as error:
            _log.warning("the model repository cannot be read: %s", error)
            return
        for name in names:
            if name.startswith(self._prefix):
                await self.discard(name)

    async def _into_triton(self, model: StoredModel) -> Route:
        try:
            return await self._try(model)
        except LoadError as error:
            # Seen once in some 80 starts: an import of torch fails in a fresh process, and works in the next.
            if error.again or "import" not in str(error).lower():
                raise
            _log.warning("%s is loaded once more: %s", model.name, error)
        return await self._try(model)

    async def _try(self, model: StoredModel) -> Route:
        triton_model = f"{self._prefix}{model.name}-{model.version}-{secrets.token_hex(3)}"
        patience, late = self._patience, ""
        try:
            await asyncio.to_thread(self._place.install, triton_model, model.kind, model.path)
            late = f"it was not loaded within {patience.load_s:g} s"
            await self._client.load(triton_model, patience.load_s)
            late = f"it was loaded, but not ready within {patience.ready_s:g} s"
            await self._wait_until_ready(triton_model)
            late = f"it did not answer a first picture within {patience.warm_up_s:g} s"
            await warm_up(self._client, triton_model, model.kind, patience.warm_up_s)
        except TritonError as error:
            hangs = error.reason is TritonReason.TIMED_OUT
            await self.discard(triton_model, hangs)
            again = error.reason is TritonReason.UNREACHABLE
            raise LoadError(late if hangs else what_went_wrong(error.detail), again) from error
        except OSError as error:
            await self.discard(triton_model)
            raise LoadError(f"the model repository cannot be written: {error}") from error
        except BaseException:
            await asyncio.shield(self.discard(triton_model, hangs=True))
            raise
        return Route(triton_model, model.name, model.version)

    async def _wait_until_ready(self, triton_model: str) -> None:
        give_up = time.monotonic() + self._patience.ready_s
        while not await self._client.model_ready(triton_model, 5.0):
            if time.monotonic() > give_up:
                raise TritonError(TritonReason.TIMED_OUT, "not ready")
            await asyncio.sleep(_POLL_S)

    async def _note(self, name: str, problem: str) -> None:
        with contextlib.suppress(CodriverError):  # a store that cannot be written is no fault of the model
            await asyncio.to_thread(self._store.set_problem, name, problem)


async def find_fixed(client: TritonClient, triton_model: str, kind: int, patience: Patience) -> Route:
    """The way to a model that Triton already has, after one answer of it.

    Raises:
        LoadError: It is not there, or does not keep the contract of coach models.
    """
    if not await client.live(5.0):
        raise LoadError(f"nothing answers at {client.address}", again=True)
    if not await client.model_ready(triton_model, 5.0):
        raise LoadError(f"Triton at {client.address} has no model {triton_model!r} that is ready", again=True)
    try:
        await warm_up(client, triton_model, kind, patience.warm_up_s)
        versions = (await client.metadata(triton_model)).versions
    except TritonError as error:
        raise LoadError(f"{triton_model}: {error.detail}", again=True) from error
    version = max(versions, key=_number, default="")
    return Route(triton_model, triton_model, version, versioned_by_triton=True)


def what_went_wrong(detail: str) -> str:
    """What a model itself says of a load that failed, without what Triton says around it."""
    return _AROUND.sub("", detail).strip() or detail


def _number(version: str) -> int:
    return int(version) if version.isdigit() else -1
