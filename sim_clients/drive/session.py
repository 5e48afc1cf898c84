"""The agent server's session behind the drive loop: one stream, one message a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from codriver import __version__
from codriver.client import AgentClient
from codriver.driving import action_spec, observation_spec
from sim_clients.drive.loop import Answer


@contextlib.contextmanager
def open_drive(
    address: str,
    num_envs: int,
    *,
    policy_id: str | None = None,
    picture: bool = False,
    timeout_s: float = 30.0,
) -> Iterator[Answer]:
    """Opens a session and a Drive stream for ``num_envs`` environments.

    Yields:
        A function that sends a batch and returns its actions.

    Raises:
        CodriverError: The server is not there, or refuses the session.
    """
    fields: dict[str, Any] = {"policy": policy_id} if policy_id else {}
    with (
        AgentClient(address, timeout_s=timeout_s) as client,
        client.open_session(
            client_name=f"codriver-drive {__version__}",
            observation_spec=observation_spec(picture=picture),
            action_spec=action_spec(),
            num_envs=num_envs,
            **fields,
        ) as session,
        session.drive() as stream,
    ):
        yield stream.step
