"""What a desk counts. The desk knows no metrics library: it tells whoever implements this."""

from __future__ import annotations

from typing import Protocol


class Metrics(Protocol):
    """Receives what happened, on the event loop; every method must return at once.

    Outcomes are ``"value"``, or the name of the reason without its prefix in small letters, as ``"timed_out"``.
    """

    def asked(self, coach: str) -> None:
        """A request came in."""

    def answered(self, coach: str, outcome: str, cached: bool) -> None:
        """A request was answered. Requests of a key that several asked count once each."""

    def waited(self, coach: str, seconds: float) -> None:
        """A row left the queue for a call after that time."""

    def queue_changed(self, coach: str, queued: int, in_flight: int) -> None:
        """Rows that wait for a call, and rows in calls, are this many now."""

    def called(self, coach: str, rows: int, seconds: float, result: str) -> None:
        """A call of the model ended: ``"ok"``, a :class:`TritonReason`'s value, or ``"cancelled"``."""

    def retried(self, coach: str, rows: int) -> None:
        """Rows go into another call because theirs failed."""

    def breaker_changed(self, coach: str, state: str) -> None:
        """The coach's breaker is ``"closed"``, ``"open"`` or ``"half_open"`` now."""


class NoMetrics:
    """Counts nothing."""

    def asked(self, coach: str) -> None:
        """Nothing."""

    def answered(self, coach: str, outcome: str, cached: bool) -> None:
        """Nothing."""

    def waited(self, coach: str, seconds: float) -> None:
        """Nothing."""

    def queue_changed(self, coach: str, queued: int, in_flight: int) -> None:
        """Nothing."""

    def called(self, coach: str, rows: int, seconds: float, result: str) -> None:
        """Nothing."""

    def retried(self, coach: str, rows: int) -> None:
        """Nothing."""

    def breaker_changed(self, coach: str, state: str) -> None:
        """Nothing."""
