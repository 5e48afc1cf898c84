"""Architectures by name: what turns a card's arguments into a torch module.

A module takes the tensors of the card's observation spec that are not optional, in their order, each (B, *shape),
and returns actions (B, A) and values (B,) or None. A package adds its own with an entry point::

    [project.entry-points."codriver.architectures"]
    my_network = "my_package.networks:MyNetwork"

A card can name installed code only, never bring its own: loading a policy runs nothing that comes with the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from agent_server.policies.base import PolicyLoadError
from agent_server.policies.network import DrivingNetwork

GROUP = "codriver.architectures"
BUILT_IN: Mapping[str, Callable[..., nn.Module]] = {"bev_cnn": DrivingNetwork}
"""``bev_cnn`` is the Found-RL network, :class:`agent_server.policies.network.DrivingNetwork`."""


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Builds an architecture with random weights.

    Raises:
        PolicyLoadError: The name is not known or the arguments do not fit.
    """
    maker = BUILT_IN.get(name)
    if maker is None:
        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        if name not in found:
            known = ", ".join(sorted({*BUILT_IN, *found}))
            raise PolicyLoadError(
                f"unknown architecture {name!r}; installed: {known}",
                hint=f"Install the package that brings it (entry point group {GROUP})",
            )
        try:
            maker = found[name].load()
        except (ImportError, AttributeError) as error:
            raise PolicyLoadError(f"architecture {name!r} cannot be imported: {error}") from error
    try:
        module = maker(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PolicyLoadError(f"architecture {name!r} refuses its arguments: {error}") from error
    return module
