"""Lists of tasks: what is driven, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim_clients.simulator import EpisodeTask

_EPISODE_STRIDE = 100_003
"""Prime, so that the seeds of neighbouring runs do not meet."""


@dataclass(frozen=True)
class TaskList:
    """Enumerates episodes; the same list gives the same tasks.

    Attributes:
        seed: First seed; each episode's route and traffic follow from it and the episode's position.
        episodes: How many. None: without end.
        vehicles: Vehicles in town.
        walkers: Pedestrians in town.
        endless: True extends routes (training).
        traffic_spread: Vehicles and pedestrians of an episode are drawn uniformly from 1 - spread to 1 + spread of
            their numbers.
        min_route_m: Shortest route.
        min_signals: Fewest signalised junctions of a route.
    """

    seed: int = 0
    episodes: int | None = None
    vehicles: int = 60
    walkers: int = 40
    endless: bool = False
    traffic_spread: float = 0.0
    min_route_m: float = 500.0
    min_signals: int = 2

    def __iter__(self) -> Iterator[EpisodeTask]:
        position = 0
        while self.episodes is None or position < self.episodes:
            yield self.task(position)
            position += 1

    def task(self, position: int) -> EpisodeTask:
        """Returns the task at a position."""
        seed = self.seed * _EPISODE_STRIDE + position
        rng = np.random.default_rng(seed)
        rng.random()  # once chose the reset; lists keep the traffic that they had
        vehicles, walkers = 1.0 + self.traffic_spread * rng.uniform(-1.0, 1.0, size=2)
        return EpisodeTask(
            route_seed=seed,
            traffic_seed=seed,
            vehicles=round(self.vehicles * vehicles),
            walkers=round(self.walkers * walkers),
            min_route_m=self.min_route_m,
            min_signals=self.min_signals,
            endless=self.endless,
        )
