"""codriver: simulators send observations, policies answer actions, coaches comment. This is the client's side.

Importing the package is cheap: every name below is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codriver.aio import AsyncAgentClient as AsyncAgentClient
    from codriver.batch import Answers as Answers
    from codriver.batch import BatchEncoder as BatchEncoder
    from codriver.client import AgentClient as AgentClient
    from codriver.errors import CodriverError as CodriverError
    from codriver.policy import RemotePolicy as RemotePolicy

_HOME = {
    "AgentClient": "codriver.client",
    "Answers": "codriver.batch",
    "AsyncAgentClient": "codriver.aio",
    "BatchEncoder": "codriver.batch",
    "CodriverError": "codriver.errors",
    "RemotePolicy": "codriver.policy",
}

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'codriver' has no attribute {name!r}")
