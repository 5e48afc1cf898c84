"""The agent server's session behind the drive loop: one stream, one message a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from codriver import __version__
from codriver.client import AgentClient
from codriver.drive_stream import DriveStream
from codriver.driving import action_spec, observation_spec
from codriver.errors import CodriverError
from codriver.v1 import action_pb2, observation_pb2
from sim_clients.drive.coaching import Coaching, CoachingRequest
from sim_clients.drive.feedback_rule import MarkingRule


class Drive:
    """An attached session; called with a batch it returns the batch's actions.

    Attributes:
        coaching: Feedback of the session. None: none was asked for.
    """

    def __init__(self, stream: DriveStream, coaching: Coaching | None) -> None:
        self.coaching = coaching
        self._stream = stream

    @property
    def marking(self) -> MarkingRule | None:
        """The rule that workers mark rows by; None in a session without coaches."""
        return None if self.coaching is None else self.coaching.rule

    def __call__(self, batch: observation_pb2.ObservationBatch) -> action_pb2.ActionBatch:
        """Sends a batch and returns its actions.

        Raises:
            CodriverError: The server is gone, or refuses the batch.
        """
        if self.coaching is None:
            return self._stream.step(batch)
        self.coaching.sent(batch)
        try:
            actions = self._stream.step(batch)
        except CodriverError:
            self.coaching.lost()
            raise
        self.coaching.answered(actions)
        return actions


@contextlib.contextmanager
def open_drive(
    address: str,
    num_envs: int,
    *,
    policy_id: str | None = None,
    picture: bool = False,
    coaching: CoachingRequest | None = None,
    timeout_s: float = 30.0,
) -> Iterator[Drive]:
    """Opens a session and a Drive stream for ``num_envs`` environments.

    Args:
        address: Of the agent server.
        num_envs: Environments.
        policy_id: Policy to drive with. None: the server's default.
        picture: True: rows may carry pictures.
        coaching: Coaches to ask. What is granted stands in ``Drive.coaching``; workers need its ``Drive.marking``.
        timeout_s: Longest wait of every call.

    Yields:
        A function that sends a batch and returns its actions.

    Raises:
        CodriverError: The server is not there, or refuses the session.
    """
    fields: dict[str, Any] = {"policy": policy_id} if policy_id else {}
    if coaching is not None:
        fields.update(coaching.fields())
    with (
        AgentClient(address, timeout_s=timeout_s) as client,
        client.open_session(
            client_name=f"codriver-drive {__version__}",
            observation_spec=observation_spec(picture=picture or coaching is not None),
            action_spec=action_spec(),
            num_envs=num_envs,
            **fields,
        ) as session,
        session.drive() as stream,
    ):
        yield Drive(stream, None if coaching is None else Coaching(stream, coaching, session.info))
