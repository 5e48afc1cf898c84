"""Whether a model is worth calling: closed (yes), open (known to be down), half open (one call shall tell)."""

from __future__ import annotations

import enum
import random


class BreakerState(enum.Enum):
    """State of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts failures in a row. It knows no clock: whoever owns it waits and probes.

    Args:
        failures: Failures in a row that open it.
        pause_s: Shortest pause before a probe.
        longest_pause_s: Longest such pause; each one is twice the one before.

    Attributes:
        state: Its state.
        detail: Why it opened, one line.
    """

    def __init__(self, failures: int, pause_s: float, longest_pause_s: float) -> None:
        self.state = BreakerState.CLOSED
        self.detail = ""
        self._allowed = failures
        self._first_pause_s = pause_s
        self._longest_pause_s = longest_pause_s
        self._failures = 0
        self._pause_s = pause_s

    def succeeded(self) -> None:
        """A call was answered: the model lives."""
        self._failures = 0
        self._pause_s = self._first_pause_s
        self.state = BreakerState.CLOSED

    def failed(self, detail: str, certain: bool = False) -> bool:
        """A call failed.

        Args:
            detail: Why.
            certain: True opens it at once.

        Returns:
            Whether that opened it.
        """
        self._failures += 1
        if self.state is BreakerState.OPEN:
            return False
        if self.state is BreakerState.CLOSED and not certain and self._failures < self._allowed:
            return False
        self.detail = detail
        self.state = BreakerState.OPEN
        return True

    def probed(self, ready: bool) -> None:
        """The model was asked whether it is ready, while open."""
        if ready and self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN

    def next_pause_s(self) -> float:
        """Time to wait before the next probe, half to all of the present pause, which then doubles."""
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._longest_pause_s)
        return pause_s * random.uniform(0.5, 1.0)
