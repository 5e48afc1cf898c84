"""SUMO as a simulator: towns, traffic, pedestrians, lights, and an ego that the vehicle model moves.

Needs ``libsumo`` (the extra ``sumo``).
"""

from sim_clients.simulator import SimulatorError

try:
    import libsumo as _libsumo  # noqa: F401
except ImportError as error:
    raise SimulatorError("SUMO is not installed: pip install 'codriver[sumo]'") from error

from sim_clients.sumo.simulator import SumoSimulator

__all__ = ["SumoSimulator"]
