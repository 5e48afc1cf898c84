"""The environment as a Gymnasium environment, in this process: for learners that live beside their simulator."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from codriver.driving import ACTION_NAMES, MASK_CHANNELS, MASK_SIZE_PX, STATE_ITEMS
from sim_clients.environment import DrivingEnvironment, Mode, StepKind, StepResult
from sim_clients.simulator import EpisodeTask
from sim_clients.simulators import load_simulator

Observations = dict[str, NDArray[Any]]
STATE_BOUND = 100.0
"""Bound of the state's space; velocities are in m/s and not normalised."""


class DrivingGymEnv(gymnasium.Env[Observations, NDArray[np.float32]]):
    """Drives one ego vehicle.

    The observation is a dictionary: ``bev_masks`` (15, 96, 96) uint8 and ``state`` (10,) float32. The action is
    (acceleration, steer), each -1 to 1. ``info`` holds reward terms, speed and, at the end, ``end_reason``.

    Args:
        simulator: Simulator by name.
        town: Town. None: the simulator's training town.
        mode: Which terminations hold.
        vehicles: Vehicles in town.
        walkers: Pedestrians in town.
        max_steps: Cuts an episode after this many steps.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(
        self,
        simulator: str = "sumo",
        town: str | None = None,
        *,
        mode: Mode = "train",
        vehicles: int = 60,
        walkers: int = 40,
        max_steps: int | None = None,
    ) -> None:
        factory = load_simulator(simulator)
        self._environment = DrivingEnvironment(
            factory(town or factory.training_town), mode, max_steps=max_steps
        )
        self._vehicles, self._walkers = vehicles, walkers
        self.observation_space = spaces.Dict(  # type: ignore[assignment]
            {
                "bev_masks": spaces.Box(0, 255, (len(MASK_CHANNELS), MASK_SIZE_PX, MASK_SIZE_PX), np.uint8),
                "state": spaces.Box(-STATE_BOUND, STATE_BOUND, (len(STATE_ITEMS),), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (len(ACTION_NAMES),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begins an episode; equal seeds give equal routes and traffic."""
        super().reset(seed=seed)
        route_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        endless = self._environment.mode == "train"
        task = EpisodeTask(
            route_seed, route_seed, vehicles=self._vehicles, walkers=self._walkers, endless=endless
        )
        result = self._environment.reset(task)
        return _observations(result), _info(result)

    def step(self, action: NDArray[np.float32]) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Applies an action for 0.1 s."""
        result = self._environment.step(action)
        return (
            _observations(result),
            result.terms.total,
            result.kind is StepKind.TERMINATED,
            result.kind is StepKind.TRUNCATED,
            _info(result),
        )

    def close(self) -> None:
        """Closes the simulator."""
        self._environment.close()


def _observations(result: StepResult) -> Observations:
    return {"bev_masks": result.observation.masks, "state": result.observation.state}


def _info(result: StepResult) -> dict[str, Any]:
    info: dict[str, Any] = {
        "speed_mps": result.scene.ego.speed_mps,
        "route_share": result.report.progress.share,
        "reward_terms": result.terms._asdict(),
    }
    if result.end_reason is not None:
        info["end_reason"] = result.end_reason.value
    return info
