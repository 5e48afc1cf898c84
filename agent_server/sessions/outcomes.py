"""What can become of a row."""

from __future__ import annotations

from typing import NamedTuple

from codriver.v1 import action_pb2


class Refusal(NamedTuple):
    """Why a row gets no action; becomes a ``FrameError``."""

    reason: action_pb2.FrameErrorReason
    field: str
    detail: str


class StoredRow(NamedTuple):
    """A row of an earlier answer."""

    batch: action_pb2.ActionBatch
    row: int

    @property
    def status(self) -> action_pb2.ActionStatus:
        """What became of it."""
        return self.batch.status[self.row]

    def action(self, dims: int) -> list[float]:
        """Its action."""
        return list(self.batch.action[self.row * dims : (self.row + 1) * dims])


class GivenAction(NamedTuple):
    """An action that is not the policy's."""

    status: action_pb2.ActionStatus
    action: list[float]


Outcome = StoredRow | GivenAction | Refusal | None
"""What a row is answered with. None: its episode ended, no action is due."""
