"""Policies: networks, the directories that hold them, and how they run.

Loading a policy imports torch; cards do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent_server.policies.base import Policy, PolicyFailure, PolicyLoadError, PolicyOutput, sample_actions
from agent_server.policies.card import CardError, PolicyCard

if TYPE_CHECKING:
    from agent_server.policies.torch_policy import Precision, TorchPolicy

__all__ = [
    "CardError",
    "Policy",
    "PolicyCard",
    "PolicyFailure",
    "PolicyLoadError",
    "PolicyOutput",
    "load_policy",
    "sample_actions",
]


def load_policy(path: str | Path, precision: Precision = "fp32") -> TorchPolicy:
    """Loads a policy directory to act with; see :func:`agent_server.policies.directory.load_policy`."""
    from agent_server.policies import directory

    return directory.load_policy(path, precision)
