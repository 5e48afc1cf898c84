"""Bridges to Gymnasium: drive an environment with a remote policy, or learn on a remote simulator.

``drive_env`` connects a Gymnasium environment to an agent server. ``RemoteEnv`` is the other way round: it listens
like an agent server, a simulator client connects, and what one holds is a Gymnasium environment. Needs
``pip install 'codriver-client[gym]'``.
"""

from codriver.gym.drive import DrivenEpisode, drive_env, policy_for_env
from codriver.gym.remote_env import RemoteEnv
from codriver.gym.spaces import action_space_of, observation_space_of, observation_spec_of

__all__ = [
    "DrivenEpisode",
    "RemoteEnv",
    "action_space_of",
    "drive_env",
    "observation_space_of",
    "observation_spec_of",
    "policy_for_env",
]
