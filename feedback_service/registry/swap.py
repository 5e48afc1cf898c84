"""The live swap: a model is loaded beside the one that answers, proven, and only then asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from codriver.errors import CodriverError, FailedPreconditionError
from codriver.v1 import feedback_admin_service_pb2 as pb
from feedback_service.desk.settings import Route
from feedback_service.registry.loading import Loader, LoadError, Patience, find_fixed
from feedback_service.registry.model_place import ModelPlace
from feedback_service.registry.seat import Seat, Switched, SwitchedDesk, coach_for
from feedback_service.registry.store import ModelStore
from feedback_service.registry.stored_model import StoredModel
from feedback_service.registry.warm_up import warm_up
from feedback_service.triton.client import TritonClient
from feedback_service.triton.errors import TritonError, TritonReason
from feedback_service.triton.probe import calls_answered

_log = logging.getLogger(__name__)


class ModelSwitch:
    """Which model stands behind each coach. Belongs to the event loop; changes of one coach happen one at a time.

    Args:
        store: The models, and which coach uses which.
        desk: Has the coaches.
        client: Of Triton.
        place: Triton's model repository; None: it is not ours to write, and only ``fixed`` models can be asked.
        fixed: Name at Triton of models that are there already, by coach.
        patience: Longest waits.
    """

    def __init__(
        self,
        store: ModelStore,
        desk: SwitchedDesk,
        client: TritonClient,
        place: ModelPlace | None,
        fixed: Mapping[str, str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.store = store
        self._client = client
        self._patience = patience or Patience()
        self._loader = None if place is None else Loader(store, client, place, self._patience)
        self._fixed = dict(fixed or {})
        self._seats = {name: Seat(coach) for name, coach in desk.coaches.items()}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def use(self, coach: str, name: str) -> Switched:
        """Gives a coach another model while it answers. Cancelled before the switch, everything stays as it was.

        Args:
            coach: The coach. Empty: the only one of the model's kind.
            name: The model's name in the store.

        Raises:
            NotFoundError: There is no such model or coach.
            InvalidArgumentError: The model does not answer what the coach is asked for.
            FailedPreconditionError: The model could not be loaded, or did not answer well; the old one goes on.
        """
        begin = time.monotonic()
        model = await asyncio.to_thread(self.store.get, name)
        coach = coach_for(self._seats, model, coach)
        self._check_writable(coach)
        done: asyncio.Future[Switched] = asyncio.get_running_loop().create_future()
        task = self._spawn(self._replace(coach, name, begin, done))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not done.done():
                task.cancel()
            raise

    async def start_all(self) -> None:
        """Begins to load what each coach uses, all coaches at once; returns at once.

        A coach without a model answers MODEL_NOT_LOADED with the reason. Where Triton is not there yet it is tried
        again and again; a model that does not load is tried again when somebody chooses one.
        """
        self._spawn(self._start_all())

    async def settled(self) -> None:
        """Waits until nothing is under way: every coach has its model, or a reason why not."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def unhealthy(self, coach: str) -> None:
        """Looks after a coach whose model seems to be down: for the desk's breaker. Returns at once."""
        seat = self._seats[coach]
        if seat.recovering is None or seat.recovering.done():
            seat.recovering = self._spawn(self.reload(coach))

    async def reload(self, coach: str) -> None:
        """Loads a coach's model anew, unless it answers. A process that died leaves a model that says READY."""
        seat = self._seats[coach]
        async with seat.lock:
            route = seat.desk.route
            if route is None or await self._answers(route, seat):
                return
            _log.warning("coach %s: %s does not answer and is loaded again", coach, route.model_id)
        await self._bring_back(coach, "does not answer and is loaded again", stubborn=True)

    async def triton_restarted(self) -> None:
        """Loads every model again: Triton has forgotten them. Returns at once."""
        for name, seat in self._seats.items():
            if seat.desk.route is not None:
                self._spawn(self._bring_back(name, "is loaded again: Triton restarted", stubborn=True))

    async def close(self, unload: bool = False) -> None:
        """Ends what is under way.

        Args:
            unload: Take the models out of a Triton that goes on without this service.
        """
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for name, seat in self._seats.items():
            route = seat.desk.route
            if unload and self._loader is not None and route is not None and name not in self._fixed:
                await self._loader.discard(route.model)

    def answering(self) -> dict[str, str]:
        """The model of the store that answers now, by coach."""
        return {name: seat.model.name for name, seat in self._seats.items() if seat.model is not None}

    def models(self) -> list[pb.CoachModel]:
        """Every model of the store, and those that Triton had already, with the coaches that they answer for now."""
        answering = self.answering()
        messages = [model.message(answering) for model in self.store.list()]
        for coach, triton_model in self._fixed.items():
            seat = self._seats[coach]
            route = seat.desk.route
            messages.append(
                pb.CoachModel(
                    name=triton_model,
                    kind=seat.desk.settings.kind,
                    family="at Triton",
                    version="" if route is None else route.model_version,
                    coaches=[] if route is None else [coach],
                )
            )
        return messages

    def _check_writable(self, coach: str) -> None:
        if coach in self._fixed or self._loader is None:
            raise FailedPreconditionError(
                f"coach {coach} asks a model of a Triton whose model repository this service cannot write",
                reason="NO_REPOSITORY",
                hint="Start `codriver feedback` with --repository DIR (that Triton's repository, under explicit model "
                "control), or with --triton embedded.",
            )

    async def _replace(self, coach: str, name: str, begin: float, done: asyncio.Future[Switched]) -> None:
        """Loads, switches, answers ``done``, and then sees the old model off."""
        seat = self._seats[coach]
        try:
            async with seat.lock:
                before, old = seat.model, seat.desk.route
                if before is not None and await self._is_that_already(seat, name):
                    done.set_result(Switched(coach, before, before, _ms_since(begin)))
                    return
                model, switching = await self._load_and_switch(seat, name)
                done.set_result(Switched(coach, model, before, _ms_since(begin)))
                await self._see_off(old, switching)
        except asyncio.CancelledError:
            done.cancel()
            raise
        except LoadError as error:
            goes_on = f"; {seat.model.name} goes on answering for {coach}" if seat.model else ""
            _settle(done, FailedPreconditionError(f"{name}: {error}{goes_on}", reason="MODEL_NOT_LOADED"))
        except CodriverError as error:
            _settle(done, error)
        except Exception as error:
            _settle(done, error)
            raise

    async def _is_that_already(self, seat: Seat, name: str) -> bool:
        """Whether a model answers already, in its newest version."""
        route = seat.desk.route
        if seat.model is None or seat.model.name != name or route is None:
            return False
        try:
            newest = await asyncio.to_thread(self.store.refresh, name)
        except CodriverError:
            return False  # the load says why
        return newest.version == seat.model.version and await self._answers(route, seat)

    async def _load_and_switch(self, seat: Seat, name: str) -> tuple[StoredModel, asyncio.Task[None]]:
        assert self._loader is not None
        coach = seat.desk.settings.name
        model, route = await self._loader.load(name, seat.desk.settings.kind)
        try:
            await asyncio.to_thread(self.store.set_in_use, coach, name)
        except BaseException:
            await asyncio.shield(self._loader.discard(route.model))
            raise
        seat.model = model
        seat.chosen += 1
        switching = asyncio.ensure_future(seat.desk.switch(route))
        await asyncio.sleep(0)  # the desk asks the new model from its first step on
        _log.info("coach %s: %s, version %s, answers now", coach, model.name, model.version)
        return model, switching

    async def _see_off(self, old: Route | None, switching: asyncio.Task[None]) -> None:
        """Waits for the old model's calls, and unloads it."""
        done, _ = await asyncio.wait([switching], timeout=self._patience.drain_s)
        if done:
            switching.result()
        if old is not None and self._loader is not None:
            await self._loader.discard(old.model)

    async def _start_all(self) -> None:
        if self._loader is not None:
            await self._loader.discard_leftovers()
        for name in self._seats:
            self._spawn(self._bring_back(name, "is being loaded"))

    async def _bring_back(self, coach: str, what: str, stubborn: bool = False) -> None:
        """Loads what a coach uses, until it is loaded, cannot be, or somebody chose another model.

        Args:
            coach: The coach.
            what: What happens to the model, for people.
            stubborn: It did answer once, so it may again (memory that another program took): there is no giving up.
        """
        seat = self._seats[coach]
        chosen, pause_s = seat.chosen, self._patience.first_retry_s
        while True:
            async with seat.lock:
                if seat.chosen != chosen:
                    return
                try:
                    await self._bring_back_once(coach, seat, what)
                    return
                except (LoadError, CodriverError) as error:
                    await seat.desk.switch(None, str(error))
                    _log.warning("coach %s has no model: %s", coach, error)
                    again = isinstance(error, LoadError) and error.again
            if not again and not stubborn:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._patience.longest_retry_s * (1 if again else 10))

    async def _bring_back_once(self, coach: str, seat: Seat, what: str) -> None:
        kind, old = seat.desk.settings.kind, seat.desk.route
        name = self._fixed.get(coach, "") or await asyncio.to_thread(self.store.in_use, coach, kind)
        seat.model = None
        # Not waited for: calls of a model that hangs end with its processes, or by their timeouts.
        self._spawn(seat.desk.switch(None, f"{name} {what}"))
        await asyncio.sleep(0)
        if coach in self._fixed:
            route = await find_fixed(self._client, name, kind, self._patience)
        elif self._loader is None:
            raise LoadError(f"coach {coach} has no model: say which with --coach {coach}=KIND:MODEL")
        else:
            if old is not None:
                await self._loader.discard(old.model, hangs=True)
            seat.model, route = await self._loader.load(name, kind)
        await seat.desk.switch(route)
        _log.info("coach %s: %s, version %s, answers now", coach, route.model_id, route.model_version)

    async def _answers(self, route: Route, seat: Seat) -> bool:
        """Whether a model answers, or at least works."""
        before = await calls_answered(self._client, route.model)
        try:
            await warm_up(self._client, route.model, seat.desk.settings.kind, self._patience.probe_s)
        except TritonError as error:
            _log.info("%s: %s", route.model_id, error)
            busy = error.reason is TritonReason.TIMED_OUT
            return busy and await calls_answered(self._client, route.model) > before
        return True

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a change of models ended in a fault", exc_info=error)


def _settle(done: asyncio.Future[Switched], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)


def _ms_since(begin: float) -> int:
    return round((time.monotonic() - begin) * 1e3)
