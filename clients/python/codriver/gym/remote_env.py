"""Bridge (b): my learner is anybody's, the simulator is remote."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Tuple

import gymnasium
import numpy as np

from codriver import driving
from codriver.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
)
from codriver.gym.env_server import EnvServer
from codriver.gym.link import ENDS, Link, Lost, Refusal, Row
from codriver.gym.spaces import action_space_of, observation_space_of
from codriver.v1 import observation_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from codriver.v1 import action_pb2

Observation = Dict[str, Any]
MAX_REFUSALS = 1000
"""A simulator that does not begin a new episode after this many refused rows never will."""


class RemoteEnv(gymnasium.Env):
    """A Gymnasium environment whose simulator connects over the wire.

    It listens like an agent server, so that every simulator client of codriver can connect::

        env = RemoteEnv("127.0.0.1:50051")  # then: codriver drive sumo --server 127.0.0.1:50051 --envs 1
        model = stable_baselines3.PPO("MultiInputPolicy", env).learn(100_000)

    The simulator decides where episodes begin and end: ``reset`` waits for the first observation of the next one.
    The seed of a reset seeds ``np_random`` and nothing at the simulator. A reset in mid-episode abandons it: the
    row that waits for an action is refused with a ``FrameError`` (POLICY_FAILED), upon which a simulator client
    begins its next episode; with ``early_reset="finish"`` it is driven to its end with ``neutral_action`` instead,
    for clients that cannot begin anew. When the simulator vanishes or leaves an episode by itself, the episode is
    truncated with its last observation (``info["lost"]`` says why) and the next ``reset`` waits for another.

    Args:
        listen: ``HOST:PORT`` (port 0: any free one, see ``address``) or ``unix:PATH``.
        observation_spec: Tensors of the simulator. Default: the standard driving observation.
        action_spec: Its actions. Default: acceleration and steer.
        reward_function: ``f(observation, info) -> float`` instead of the simulator's reward.
        connect_timeout_s: Longest wait of a reset for a simulator and its first observation.
        step_timeout_s: Longest wait of a step for the next observation.
        early_reset: ``"abandon"`` or ``"finish"``, as above.
        neutral_action: (A,) action for ``"finish"``. Default: the middle of the action space.
        allow_plaintext: True: also listen beyond this machine, unencrypted and for anyone.

    Attributes:
        address: Where the simulator connects.
        observation_space: A dictionary of boxes, one for each tensor that is not optional.
        action_space: A box.
        episode: The simulator's number of the last episode; -1 before the first.

    Raises:
        CodriverError: A spec is not valid, or the address is taken.
    """

    metadata: Dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self,
        listen: str = "127.0.0.1:0",
        *,
        observation_spec: observation_pb2.ObservationSpec | None = None,
        action_spec: action_pb2.ActionSpec | None = None,
        reward_function: Callable[[Observation, Dict[str, Any]], float] | None = None,
        connect_timeout_s: float = 120.0,
        step_timeout_s: float = 60.0,
        early_reset: str = "abandon",
        neutral_action: NDArray[Any] | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        if early_reset not in ("abandon", "finish"):
            raise InvalidArgumentError(
                f"early_reset is {early_reset!r}; use 'abandon' or 'finish'", field="early_reset"
            )
        observation_spec = observation_spec or driving.observation_spec()
        action_spec = action_spec or driving.action_spec()
        self.observation_space = observation_space_of(observation_spec)
        self.action_space = action_space_of(action_spec)
        middle = (self.action_space.low + self.action_space.high) / 2
        self._neutral = np.asarray(middle if neutral_action is None else neutral_action, np.float32)
        self._reward_function = reward_function
        self._connect_timeout_s, self._step_timeout_s = connect_timeout_s, step_timeout_s
        self._early_reset = early_reset
        self._server = EnvServer(listen, observation_spec, action_spec, allow_plaintext)
        self.address = self._server.address
        self.episode = -1
        self._link: Link | None = None
        self._row: Row | None = None  # the observation that waits for an action
        self._next_first: Row | None = None  # a first observation that came before its reset

    def reset(
        self, *, seed: int | None = None, options: Dict[str, Any] | None = None
    ) -> Tuple[Observation, Dict[str, Any]]:
        """Waits for the first observation of the simulator's next episode.

        Raises:
            DeadlineExceededError: No simulator connects, or it sends nothing.
            FailedPreconditionError: The simulator does not begin a new episode.
        """
        super().reset(seed=seed)
        if self._row is not None:
            self._end_early()
        end = time.monotonic() + self._connect_timeout_s
        refused = 0
        row = self._next_first
        self._next_first = None
        while row is None:
            row = self._first_row(end)
            if row is not None and row.kind != observation_pb2.STEP_KIND_FIRST:
                self._refuse(row)
                refused += 1
                row = None
            if refused > MAX_REFUSALS:
                raise FailedPreconditionError(
                    "the simulator goes on with an episode that was abandoned",
                    hint="Let it begin a new episode after a FrameError, or use early_reset='finish'.",
                )
        self._row, self.episode = row, row.episode
        return row.observation, _info(row)

    def step(self, action: Any) -> Tuple[Observation, float, bool, bool, Dict[str, Any]]:
        """Sends an action and waits for the observation after it.

        Args:
            action: (A,) inside ``action_space``; clipped into it.

        Raises:
            FailedPreconditionError: The episode has ended: reset first.
            DeadlineExceededError: The simulator sends nothing.
            InvalidArgumentError: The action is NaN or of another shape, or the simulator sends no reward.
        """
        if self._row is None or self._link is None:
            raise FailedPreconditionError("there is no episode under way", hint="Call reset() first.")
        before, values = self._row, self._checked(action)
        self._row = None  # whatever happens now: its answer is given
        self._link.answer(values)
        row = self._next_row(before)
        if isinstance(row, Lost):
            return before.observation, 0.0, False, True, {**_info(before), "lost": row.reason}
        info = _info(row)
        ended = row.kind in ENDS
        self._row = None if ended else row
        terminated = row.kind == observation_pb2.STEP_KIND_TERMINATED
        return row.observation, self._reward(row, info), terminated, ended and not terminated, info

    def close(self) -> None:
        """Stops listening."""
        self._row = None
        self._server.close()

    # ------------------------------------------------------------------ details

    def _first_row(self, end: float) -> Row | None:
        """The next row of any kind, from a new simulator where the old one is gone; None: it went again."""
        if self._link is None:
            self._link = self._server.next_link(max(0.0, end - time.monotonic()))
        row = self._link.get(max(0.0, end - time.monotonic()))
        if isinstance(row, Lost):
            self._link = None
            return None
        return row

    def _next_row(self, before: Row) -> Row | Lost:
        """The row after an action: the next step of the episode, or why there is none."""
        assert self._link is not None
        end = time.monotonic() + self._step_timeout_s
        while True:
            row = self._link.get(max(0.0, end - time.monotonic()))
            if isinstance(row, Lost):
                self._link = None
                return row
            if row.kind == observation_pb2.STEP_KIND_FIRST and row.episode > before.episode:
                self._next_first = row
                return Lost("the simulator left the episode and began another")
            if (row.episode, row.step) == (before.episode, before.step + 1):
                return row
            self._refuse(row)

    def _end_early(self) -> None:
        """Ends the episode under way, as ``early_reset`` says."""
        row, self._row = self._row, None
        assert row is not None and self._link is not None
        if self._early_reset == "abandon":
            self._refuse(row)
            return
        while True:
            self._link.answer(self._neutral)
            following = self._next_row(row)
            if isinstance(following, Lost) or following.kind in ENDS:
                return
            row = following

    def _refuse(self, row: Row) -> None:
        if self._link is not None and row.kind not in ENDS:
            self._link.answer(Refusal("the learner has reset its environment: begin the next episode"))

    def _checked(self, action: Any) -> NDArray[np.float32]:
        values = np.asarray(action, np.float32)
        space = self.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        if values.shape != space.shape or not np.isfinite(values).all():
            raise InvalidArgumentError(
                f"the action {action!r} is not {space.shape} finite numbers", field="action"
            )
        clipped: NDArray[np.float32] = np.clip(values, space.low, space.high)
        return clipped

    def _reward(self, row: Row, info: Dict[str, Any]) -> float:
        if self._reward_function is not None:
            return float(self._reward_function(row.observation, info))
        if row.reward is None:
            raise InvalidArgumentError(
                "the simulator sends no reward", field="reward", hint="Pass a reward_function to RemoteEnv."
            )
        return float(row.reward)


def _info(row: Row) -> Dict[str, Any]:
    info: Dict[str, Any] = {"step": row.step}  # not the episode: equal episodes shall look equal
    if row.applied_action is not None:
        info["applied_action"] = row.applied_action
    return info
