"""Keys: which episode and step each environment's next observation has."""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Sequence

from codriver.errors import InvalidArgumentError
from codriver.v1 import observation_pb2


class Keys(NamedTuple):
    """The key columns of a batch, equal lengths."""

    env: List[int]
    episode: List[int]
    step: List[int]
    step_kind: List[int]


class KeyCounter:
    """Counts episodes and steps of a session's environments.

    Every environment begins with step 0 (FIRST) of episode ``first_episode``. A terminated or truncated observation
    ends its episode, and the next one of that environment is the FIRST of the next.

    Args:
        num_envs: Environments of the session.
        first_episode: Number of each environment's first episode.
    """

    def __init__(self, num_envs: int, first_episode: int = 0) -> None:
        self._episode = [first_episode] * num_envs
        self._step = [0] * num_envs

    def __len__(self) -> int:
        return len(self._step)

    def copy(self) -> KeyCounter:
        """A counter that goes on from here by itself."""
        twin = KeyCounter(0)
        twin._episode, twin._step = list(self._episode), list(self._step)
        return twin

    def begin_episode(self, envs: Iterable[int] | None = None) -> None:
        """Makes the next observation of these environments (None: of all) the first of an episode.

        Cuts an episode that is under way; does nothing where none is.
        """
        for env in range(len(self)) if envs is None else envs:
            if self._step[env]:
                self._episode[env] += 1
                self._step[env] = 0

    def take(
        self,
        envs: Sequence[int] | None = None,
        terminated: Sequence[bool] | None = None,
        truncated: Sequence[bool] | None = None,
    ) -> Keys:
        """Keys for one observation of each environment, and counts on.

        Args:
            envs: The environments, each once. None: all in order.
            terminated: Which of them ended in a terminal state.
            truncated: Which of them were cut (a row that is both counts as terminated).

        Raises:
            InvalidArgumentError: An environment is unknown or named twice, or an episode would end with its first
                observation. Nothing is counted then.
        """
        rows = list(range(len(self)) if envs is None else (int(env) for env in envs))
        if len(set(rows)) != len(rows) or any(not 0 <= env < len(self) for env in rows):
            raise InvalidArgumentError(
                f"environments {rows} must be distinct and within 0 to {len(self) - 1}", field="env"
            )
        ends = [
            2
            if terminated is not None and terminated[i]
            else int(truncated is not None and bool(truncated[i]))
            for i in range(len(rows))
        ]
        for env, end in zip(rows, ends):
            if end and not self._step[env]:
                raise InvalidArgumentError(
                    f"the first observation of an episode cannot be its last (environment {env})",
                    field="step_kind",
                    hint="Send the observation of the reset first.",
                )
        keys = Keys(rows, [], [], [])
        for env, end in zip(rows, ends):
            keys.episode.append(self._episode[env])
            keys.step.append(self._step[env])
            keys.step_kind.append(_kind(self._step[env], end))
            self._episode[env] += bool(end)
            self._step[env] = 0 if end else self._step[env] + 1
        return keys


def _kind(step: int, end: int) -> int:
    if end == 2:
        return int(observation_pb2.STEP_KIND_TERMINATED)
    if end == 1:
        return int(observation_pb2.STEP_KIND_TRUNCATED)
    return int(observation_pb2.STEP_KIND_MID if step else observation_pb2.STEP_KIND_FIRST)
