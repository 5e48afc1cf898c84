"""Some rows on their way to a model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from feedback_service.asking.health import ModelHealth
from feedback_service.desk.row import Row, RowState


class Call:
    """One request to Triton.

    Attributes:
        model: Where it goes to.
        rows: Its rows, in the order of the batch.
        started_at: When it began, on the loop's clock.
        task: The task that awaits it.
        ended: Triton has answered, or failed to.
    """

    __slots__ = ("_waiting", "ended", "model", "rows", "started_at", "task")

    def __init__(self, model: ModelHealth, rows: Sequence[Row], started_at: float) -> None:
        self.model = model
        self.rows = rows
        self.started_at = started_at
        self.task: asyncio.Task[None] | None = None
        self.ended = False
        self._waiting = len(rows)
        for row in rows:
            row.state = RowState.CALLING
            row.call = self
            row.attempts += 1

    def unanswered(self) -> list[Row]:
        """Its rows that still wait."""
        return [row for row in self.rows if row.call is self]

    def leave(self, row: Row) -> None:
        """A row does not wait for it any more. When nobody does, it is cancelled."""
        row.call = None
        self._waiting -= 1
        if not self._waiting and not self.ended and self.task is not None:
            self.task.cancel()
