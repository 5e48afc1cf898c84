"""How far environments have come, so that answers know their age and stale questions are not asked."""

from __future__ import annotations

from collections import OrderedDict

from feedback_service.desk.row import RowKey

_LARGEST = 2**64 - 1


class EnvironmentWay:
    """The steps of one environment, over all its episodes, as far as anything was heard of them.

    Attributes:
        episode: Latest episode.
        step: Latest step of that episode.
        travelled: Steps from the first thing heard to the latest; what was skipped between two episodes is not in it.
    """

    __slots__ = ("episode", "step", "travelled")

    def __init__(self, episode: int, step: int) -> None:
        self.episode = episode
        self.step = step
        self.travelled = 0

    def reach(self, episode: int, step: int) -> bool:
        """Hears of a step. True: it is a new latest one."""
        if episode == self.episode:
            if step <= self.step:
                return False
            self.travelled += step - self.step
        elif episode > self.episode:
            self.travelled += step + 1
            self.episode = episode
        else:
            return False
        self.step = step
        return True

    def position(self, episode: int, step: int) -> int:
        """Where a step lies on the way, for :meth:`age`. A step of an earlier episode counts as its last one."""
        if episode == self.episode:
            return self.travelled - (self.step - step)
        return self.travelled - self.step - 1

    def age(self, position: int) -> int:
        """Steps taken beyond a position, as far as a message can say it."""
        return min(max(0, self.travelled - position), _LARGEST)


class Ways:
    """The ways of all environments; the ones that were not heard of for longest are forgotten.

    Args:
        kept: Environments to remember.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._ways: OrderedDict[tuple[str, int], EnvironmentWay] = OrderedDict()

    def reach(self, key: RowKey) -> tuple[EnvironmentWay, bool]:
        """Hears of a step.

        Returns:
            The environment's way, and whether the step is a new latest one.
        """
        name = (key.session_id, key.env)
        way = self._ways.get(name)
        if way is None:
            way = self._ways[name] = EnvironmentWay(key.episode, key.step)
            if len(self._ways) > self._kept:
                self._ways.popitem(last=False)
            return way, False
        self._ways.move_to_end(name)
        return way, way.reach(key.episode, key.step)

    def get(self, key: RowKey) -> EnvironmentWay | None:
        """The way of a key's environment."""
        return self._ways.get((key.session_id, key.env))
