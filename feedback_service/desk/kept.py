"""A bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The last so many values; the one that was not used for longest goes first.

    Args:
        entries: Values to keep. 0 keeps none.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: Hashable) -> Value | None:
        """The value of a name, which is thereby used."""
        value = self._values.get(name)
        if value is not None:
            self._values.move_to_end(name)
        return value

    def keep(self, name: Hashable, value: Value) -> None:
        """Keeps a value."""
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._entries:
            self._values.popitem(last=False)
