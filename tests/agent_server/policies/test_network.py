"""The network has the published layout: exact counts, input scaling, ignored state items."""

from __future__ import annotations

import pytest
import torch

from agent_server.policies.network import DrivingNetwork


def test_parameter_counts_are_those_of_found_rl() -> None:
    counts = DrivingNetwork().parameter_counts()
    assert counts["extractor"] == 1_198_336
    assert counts["actor_head"] == 223_702
    assert counts["deployed_actor"] == 1_422_038
    assert counts["value_head"] == 256 * 64 + 64 + 64 + 1


def test_no_value_head_leaves_the_actor_as_it_is() -> None:
    counts = DrivingNetwork(value_head=False).parameter_counts()
    assert counts["deployed_actor"] == 1_422_038
    assert counts["value_head"] == 0


def test_masks_are_divided_by_255_inside() -> None:
    torch.manual_seed(0)
    network = DrivingNetwork()
    masks = torch.randint(0, 256, (3, 15, 96, 96), dtype=torch.uint8)
    state = torch.randn(3, 10)
    action, value = network(masks, state)
    scaled, scaled_value = network(masks.float() / 255, state)
    torch.testing.assert_close(action, scaled)
    torch.testing.assert_close(value, scaled_value)
    assert action.shape == (3, 2) and action.abs().max() <= 1 and value.shape == (3,)


def test_ignored_state_items_change_nothing_and_others_do() -> None:
    torch.manual_seed(1)
    network = DrivingNetwork(ignored_state=(0, 2))
    masks = torch.zeros(1, 15, 96, 96, dtype=torch.uint8)
    state = torch.zeros(1, 10)
    rest, _ = network(masks, state)
    for item in range(10):
        moved = state.clone()
        moved[0, item] = 1.0
        same = torch.equal(network(masks, moved)[0], rest)
        assert same == (item in (0, 2)), item


def test_ignored_state_outside_the_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="ignored_state"):
        DrivingNetwork(ignored_state=(10,))
