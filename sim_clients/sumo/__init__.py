"""SUMO as a simulator: towns, traffic, pedestrians, lights, and an ego that the vehicle model moves.

Needs ``libsumo`` (the extra ``sumo``).
"""

from sim_clients.simulator import SimulatorError
from sim_clients.sumo import stand_ins

stand_ins.provide()
try:
    import libsumo as _libsumo  # noqa: F401
except ImportError as error:
    raise SimulatorError(f"SUMO is not installed ({error}): pip install 'codriver[sumo]'") from error

from sim_clients.sumo.simulator import SumoSimulator  # noqa: E402 - its libraries come first

__all__ = ["SumoSimulator"]
