"""A small random policy and a batch for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agent_server.policies.card import PolicyCard
from agent_server.policies.network import DrivingNetwork
from codriver.driving import MASK_LEVELS, action_spec, observation_spec


@pytest.fixture
def network() -> DrivingNetwork:
    torch.manual_seed(0)
    return DrivingNetwork()


@pytest.fixture
def card(network: DrivingNetwork) -> PolicyCard:
    return PolicyCard(
        id="random-1",
        architecture="bev_cnn",
        observation_spec=observation_spec(),
        action_spec=action_spec(),
        has_value=True,
        exploration_std=(0.1, 0.2),
        parameters=network.parameter_counts(),
        training={"data": ["a"], "seed": 3},
        metrics={"driving_score": 0.5},
    )


@pytest.fixture
def batch() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    channels = [rng.choice(np.array(levels, np.uint8), (8, 96, 96)) for levels in MASK_LEVELS]
    return {
        "bev_masks": np.stack(channels, axis=1),
        "state": rng.normal(size=(8, 10)).astype(np.float32),
    }
