"""The simulators that are installed, found through the entry point group ``codriver.simulators``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol, cast

from sim_clients.simulator import Simulator, SimulatorError


class SimulatorFactory(Protocol):
    """What an entry point names: called with a town, it starts the simulator.

    Attributes:
        training_town: Town that policies are trained in.
        test_town: Town that no shipped policy was trained in.
    """

    training_town: str
    test_town: str

    def towns(self) -> list[str]:
        """Names of the towns; empty when they are known only to a simulator that runs."""

    def __call__(self, town: str) -> Simulator:
        """Starts the simulator in a town."""


def load_simulator(name: str) -> SimulatorFactory:
    """Returns a simulator's factory.

    Raises:
        SimulatorError: No such simulator, or its libraries are missing.
    """
    found = {point.name: point for point in entry_points(group="codriver.simulators")}
    if name not in found:
        raise SimulatorError(f"unknown simulator {name!r}; there are: {', '.join(sorted(found)) or 'none'}")
    try:
        return cast(SimulatorFactory, found[name].load())
    except ImportError as error:
        raise SimulatorError(
            f"simulator {name!r} needs {error.name}: pip install 'codriver[{name}]'"
        ) from error


def check_town(factory: SimulatorFactory, town: str) -> str:
    """Returns the town, if there is one of that name.

    Raises:
        SimulatorError: There is none; noticed here before anything is started.
    """
    known = factory.towns()
    if known and town not in known:
        raise SimulatorError(f"unknown town {town!r}; there are: {', '.join(known)}")
    return town
