"""How long a model takes, as far as its last calls tell."""

from __future__ import annotations

from collections import deque

_CALLS = 16
_FIRST = 0.25
_STEP = 1.5
_OLD = 2.0
_LIKE = 0.5


class Latency:
    """The longest of the last calls: what a call that begins now should be given.

    Under overload the oldest row in a queue is always about to expire. Whoever calls the model for rows that cannot be
    answered in time lets it work for nothing, and ends with answering hardly any.

    Times are on any one clock, in seconds.
    """

    def __init__(self) -> None:
        self._last_s: deque[float] = deque(maxlen=_CALLS)
        self._last_answered_s: deque[float] = deque(maxlen=_CALLS)
        self._confirmed_at = 0.0

    @property
    def answered_s(self) -> float:
        """The longest time after which a call was answered lately; 0 where nothing is known."""
        return max(self._last_answered_s, default=0.0)

    def expected_s(self, now: float) -> float:
        """Time that a call takes; 0 where nothing is known.

        What was known is forgotten when no call took about that long for twice that time.
        """
        longest_s = max(self._last_s, default=0.0)
        if longest_s and now - self._confirmed_at > _OLD * longest_s:
            self._last_s.clear()
            return 0.0
        return longest_s

    def answered(self, elapsed_s: float, now: float) -> None:
        """A call was answered after that time."""
        self._last_answered_s.append(elapsed_s)
        self._tell(elapsed_s, now)

    def unanswered(self, elapsed_s: float, now: float) -> None:
        """A call was given up after that time. It tells only that it would have taken longer, by a step at a time."""
        longest_s = max(self._last_s, default=0.0)
        if elapsed_s >= longest_s:
            self._tell(min(elapsed_s, _STEP * longest_s) if longest_s else _FIRST * elapsed_s, now)

    def forget(self) -> None:
        """The model was down."""
        self._last_s.clear()
        self._last_answered_s.clear()

    def _tell(self, elapsed_s: float, now: float) -> None:
        if elapsed_s >= _LIKE * max(self._last_s, default=0.0):
            self._confirmed_at = now
        self._last_s.append(elapsed_s)
