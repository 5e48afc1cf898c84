"""The door by which a simulator enters: one protocol, filled once per simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sim_clients.scene import Control, Scene, SceneMap


@dataclass(frozen=True)
class EpisodeTask:
    """What to drive.

    Attributes:
        route_seed: Chooses start, goal and way.
        traffic_seed: Seeds vehicles, pedestrians and everything else that is random.
        vehicles: Vehicles to keep in town.
        walkers: Pedestrians to keep in town.
        min_route_m: Shortest route to accept.
        min_signals: Fewest signalised junctions on the route.
        endless: True in training: the route is extended so that at least 1,000 m lie ahead.
        hard_reset: True rebuilds all traffic; False keeps it and only replaces the ego (soft reset).
    """

    route_seed: int
    traffic_seed: int
    vehicles: int = 60
    walkers: int = 40
    min_route_m: float = 500.0
    min_signals: int = 2
    endless: bool = False
    hard_reset: bool = True


class Simulator(Protocol):
    """One simulator with one ego vehicle, stepped at 10 Hz.

    Raises:
        SimulatorError: From any call, when the simulation cannot go on; the message says what to do.
    """

    @property
    def map(self) -> SceneMap:
        """The loaded map."""

    def reset(self, task: EpisodeTask) -> Scene:
        """Begins an episode and returns its first scene (``time_s`` 0)."""

    def step(self, control: Control) -> Scene:
        """Applies a control for 0.1 s and returns the scene after it."""

    def close(self) -> None:
        """Ends the simulation. Safe to call twice."""


class SimulatorError(RuntimeError):
    """The simulation cannot go on."""
