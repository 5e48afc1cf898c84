"""How many calls may be repetitions: a share of all calls, so that a failing model is not asked even more."""

from __future__ import annotations


class RetryBudget:
    """Each call earns a share of a repetition.

    Args:
        share: Repetitions per call.
        reserve: Repetitions to start with, and most that can be saved up.
    """

    def __init__(self, share: float, reserve: float = 10.0) -> None:
        self._share = share
        self._reserve = reserve
        self._saved = reserve

    def called(self) -> None:
        """A call that is none was made."""
        self._saved = min(self._reserve, self._saved + self._share)

    def take(self) -> bool:
        """Whether one more repetition may be made, which is then counted."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
