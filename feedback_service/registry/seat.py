"""A coach as the switch sees it: its desk, the model that answers for it, and the lock under which that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from codriver.errors import InvalidArgumentError, NotFoundError
from feedback_service.desk.settings import CoachSettings, Route
from feedback_service.registry.inspect import KIND_WORDS
from feedback_service.registry.stored_model import StoredModel


class SwitchedCoach(Protocol):
    """What the switch needs of a coach's desk."""

    @property
    def settings(self) -> CoachSettings:
        """Name and kind."""

    @property
    def route(self) -> Route | None:
        """The model that is asked."""

    async def switch(self, route: Route | None, detail: str = "") -> None:
        """Asks another model from now on; returns when the calls of the one before are done."""


class SwitchedDesk(Protocol):
    """What the switch needs of the desk."""

    @property
    def coaches(self) -> Mapping[str, SwitchedCoach]:
        """The coaches by name."""


@dataclass
class Seat:
    """A coach and its model.

    Attributes:
        desk: The coach's desk.
        lock: Held while the model changes.
        model: The model of the store that answers; None: none does, or it is not of the store.
        chosen: How often somebody chose a model; a start or a reload gives up for a newer choice.
        recovering: The reload under way.
    """

    desk: SwitchedCoach
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    model: StoredModel | None = None
    chosen: int = 0
    recovering: asyncio.Task[Any] | None = None


@dataclass(frozen=True)
class Switched:
    """What a switch did.

    Attributes:
        coach: The coach.
        model: The model that answers now.
        before: The model that answered before; None: none did.
        load_ms: Time from the request to the switch, in milliseconds.
    """

    coach: str
    model: StoredModel
    before: StoredModel | None
    load_ms: int


def coach_for(seats: Mapping[str, Seat], model: StoredModel, coach: str) -> str:
    """The coach that a model is meant for.

    Args:
        seats: The coaches by name.
        model: The model.
        coach: The coach that was named. Empty: the only one of the model's kind.

    Raises:
        NotFoundError: There is no such coach.
        InvalidArgumentError: It wants another kind, or it is not clear which one is meant.
    """
    if coach:
        if coach not in seats:
            raise NotFoundError(f"there is no coach {coach!r}; there are: {', '.join(seats)}", field="coach")
        kind = seats[coach].desk.settings.kind
        if kind != model.kind:
            raise InvalidArgumentError(
                f"{model.name} is a {KIND_WORDS[model.kind]} model, and coach {coach} wants "
                f"{KIND_WORDS.get(kind, 'another')}",
                field="coach",
            )
        return coach
    fitting = [name for name, seat in seats.items() if seat.desk.settings.kind == model.kind]
    if len(fitting) != 1:
        raise InvalidArgumentError(
            f"{len(fitting)} coaches take {KIND_WORDS[model.kind]} models: {', '.join(fitting) or 'none'}",
            field="coach",
            hint="Name one with --coach." if fitting else "",
        )
    return fitting[0]
