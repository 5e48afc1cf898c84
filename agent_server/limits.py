"""What the server allows, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

MAX_GRACE_S = 86_400.0
"""Longest time that clients get to leave."""


@dataclass(frozen=True)
class Limits:
    """Limits of one server; each refusal names the one that it met.

    Attributes:
        max_message_bytes: Largest message that is read.
        max_rows_per_message: Most rows that one message may carry.
        max_sessions: Most open sessions.
        frames_in_flight: Rows in flight that a session gets when it asks for none (or its number of environments,
            where that is more).
        max_frames_in_flight: Most rows in flight that a session gets.
        max_waiting_rows: Most rows that wait for the model, of all sessions together.
        idle_timeout_s: A session without stream and without calls ends after this.
        drain_grace_s: Time that attached clients get to leave when the server stops.
    """

    max_message_bytes: int = 32 * 1024 * 1024
    max_rows_per_message: int = 256
    max_sessions: int = 1024
    frames_in_flight: int = 256
    max_frames_in_flight: int = 4096
    max_waiting_rows: int = 8192
    idle_timeout_s: int = 300
    drain_grace_s: float = 5.0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is not positive, or a message would not fit into the waiting room.
        """
        for field in fields(self):
            if getattr(self, field.name) <= 0 and field.name != "drain_grace_s":
                raise ValueError(f"{field.name} must be more than 0")
        if not 0 <= self.drain_grace_s <= MAX_GRACE_S:
            raise ValueError(f"drain_grace_s must be from 0 to {MAX_GRACE_S:g}")
        if self.max_waiting_rows < self.max_rows_per_message:
            raise ValueError("max_waiting_rows must be at least max_rows_per_message")
