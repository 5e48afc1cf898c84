"""What the policy sees, computed from a scene: BEV masks, the picture for the VLM and the state vector.

See docs/observation.md for every channel, level and state item, and for what differs from Found-RL.
"""

from sim_clients.observation.observer import Observation, Observer, ObserverReport

__all__ = ["Observation", "Observer", "ObserverReport"]
