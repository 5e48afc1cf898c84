"""What the blocking and the asyncio client share: addresses, channel options, requests and stream bookkeeping."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Deque, Dict, List, Tuple

from codriver import __version__, driving
from codriver.errors import CodriverError, InternalError, InvalidArgumentError, UnavailableError
from codriver.v1 import action_pb2, agent_service_pb2, feedback_pb2

DEFAULT_TIMEOUT_S = 10.0
MAX_RECEIVE_BYTES = 64 * 1024 * 1024
MAX_FEEDBACK_KEPT = 4096
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(\d{1,5})\Z")


def target(address: str) -> str:
    """Checks an address and returns it for gRPC.

    Args:
        address: ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``.

    Raises:
        InvalidArgumentError: It is none of these.
    """
    if address.startswith("unix:") and len(address) > len("unix:"):
        return address
    match = _HOST_PORT.match(address)
    if match is None or not 0 < int(match.group(2)) < 65536:
        raise InvalidArgumentError(
            f"{address!r} is not an address",
            reason="INVALID_ADDRESS",
            hint="Use HOST:PORT, as 127.0.0.1:50051, or unix:PATH.",
        )
    return address


def channel_options(address: str) -> List[Tuple[str, Any]]:
    """Options for a channel to an address."""
    options: List[Tuple[str, Any]] = [
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        ("grpc.max_send_message_length", -1),  # the server says what is too large
        # A connection of its own: a restarted server is not hidden behind another channel's back-off.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if address.startswith(("127.", "localhost:", "[::1]:")):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def metadata(token: str | None) -> List[Tuple[str, str]]:
    """Metadata of every call: a bearer token, if there is one."""
    return [("authorization", f"Bearer {token}")] if token else []


def session_request(fields: Dict[str, Any]) -> agent_service_pb2.OpenSessionRequest:
    """An ``OpenSessionRequest`` from keyword arguments, with the standard driving specs as default.

    ``policy`` may be a policy's id.

    Raises:
        InvalidArgumentError: A field is not known or has the wrong type.
    """
    fields = dict(fields)
    if isinstance(fields.get("policy"), str):
        fields["policy"] = action_pb2.PolicyVersion(policy_id=fields["policy"])
    fields.setdefault("observation_spec", driving.observation_spec())
    fields.setdefault("action_spec", driving.action_spec())
    fields.setdefault("num_envs", 1)
    fields.setdefault("client_name", f"codriver-client {__version__}")
    try:
        return agent_service_pb2.OpenSessionRequest(**fields)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"OpenSessionRequest: {error}") from None


class StreamState:
    """What a Drive stream has told besides actions.

    Attributes:
        attached: The server's first message.
        drain: The server's announcement that it will stop, or None.
        feedback: Feedback in order of arrival; the oldest is dropped beyond 4,096.
        actions: Answers that came while feedback was waited for, in order of arrival.
        logged: How far each environment is safely logged, by env: (episode, step).
    """

    def __init__(self) -> None:
        self.attached: agent_service_pb2.Attached | None = None
        self.drain: agent_service_pb2.Drain | None = None
        self.feedback: Deque[feedback_pb2.Feedback] = deque(maxlen=MAX_FEEDBACK_KEPT)
        self.actions: Deque[action_pb2.ActionBatch] = deque()
        self.logged: Dict[int, Tuple[int, int]] = {}

    def take(self, response: agent_service_pb2.DriveResponse) -> action_pb2.ActionBatch | None:
        """Notes what a message says; returns its actions, if it has any."""
        kind = response.WhichOneof("message")
        if kind == "actions":
            return response.actions
        if kind == "attached":
            self.attached = response.attached
            self._note(response.attached.logged)
        elif kind == "feedback":
            self.feedback.extend(response.feedback.feedback)
        elif kind == "log_progress":
            self._note(response.log_progress.logged)
        elif kind == "drain":
            self.drain = response.drain
        return None

    def keep(self, response: agent_service_pb2.DriveResponse) -> None:
        """Notes what a message says, and keeps its actions for whoever receives next."""
        actions = self.take(response)
        if actions is not None:
            self.actions.append(actions)

    def take_feedback(self) -> List[feedback_pb2.Feedback]:
        """The feedback that has arrived, in order; it is forgotten here."""
        taken = []
        while self.feedback:
            taken.append(self.feedback.popleft())
        return taken

    def ended(self) -> CodriverError:
        """The error for a stream that the server ended in good order."""
        if self.drain is not None:
            text = f" ({self.drain.reason})" if self.drain.reason else ""
            return UnavailableError(
                f"the server has drained{text} and ended the stream",
                reason="DRAINED",
                hint="Attach again elsewhere.",
            )
        return UnavailableError("the server ended the stream: the session is closed", reason="STREAM_ENDED")

    def check_attached(self) -> None:
        """Raises ``InternalError`` unless the first message was ``Attached``."""
        if self.attached is None:
            raise InternalError("the server's first message was not Attached", reason="PROTOCOL")

    def _note(self, logged: Any) -> None:
        for entry in logged:
            self.logged[entry.env] = (entry.episode, entry.step)
