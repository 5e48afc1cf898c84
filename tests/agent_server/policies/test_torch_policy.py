"""Acting: determinism, precision, failures by row, sampling."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from agent_server.policies import PolicyFailure, sample_actions
from agent_server.policies.card import PolicyCard
from agent_server.policies.network import DrivingNetwork
from agent_server.policies.torch_policy import TorchPolicy

Batch = dict[str, NDArray[Any]]


def test_shapes_and_bits(card: PolicyCard, network: DrivingNetwork, batch: Batch) -> None:
    policy = TorchPolicy(card, network)
    first, second = policy.forward(batch), policy.forward(batch)
    assert first.action.shape == (8, 2) and first.action.dtype == np.float32
    assert first.value is not None and first.value.shape == (8,)
    np.testing.assert_array_equal(first.action, second.action)
    np.testing.assert_array_equal(first.value, second.value)
    assert np.ptp(first.action[:, 0]) > 0


def test_a_row_does_not_depend_on_its_batch(card: PolicyCard, network: DrivingNetwork, batch: Batch) -> None:
    policy = TorchPolicy(card, network)
    together = policy.forward(batch).action
    alone = np.concatenate(
        [policy.forward({k: v[i : i + 1] for k, v in batch.items()}).action for i in range(8)]
    )
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_bf16_is_near_fp32(card: PolicyCard, network: DrivingNetwork, batch: Batch) -> None:
    half = TorchPolicy(card, copy.deepcopy(network), "bf16").forward(batch)
    full = TorchPolicy(card, network).forward(batch)
    assert half.action.dtype == np.float32
    error = np.abs(half.action - full.action).max()
    assert 0 < error < 0.02


def test_no_value_when_the_card_has_none(card: PolicyCard, batch: Batch) -> None:
    policy = TorchPolicy(replace(card, has_value=False), DrivingNetwork(value_head=False))
    assert policy.forward(batch).value is None


def test_empty_batch(card: PolicyCard, network: DrivingNetwork, batch: Batch) -> None:
    output = TorchPolicy(card, network).forward({k: v[:0] for k, v in batch.items()})
    assert output.action.shape == (0, 2)


def test_rows_that_are_not_finite_fail_alone(card: PolicyCard, network: DrivingNetwork, batch: Batch) -> None:
    good = TorchPolicy(card, network).forward(batch)
    batch["state"][3, 4] = np.nan
    with pytest.raises(PolicyFailure) as caught:
        TorchPolicy(card, network).forward(batch)
    assert caught.value.rows.tolist() == [3]
    keep = [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(caught.value.output.action[keep], good.action[keep])
    assert caught.value.output.action[3].tolist() == [0, 0]
    assert "1 of 8 rows" in str(caught.value)


def test_a_failing_module_fails_every_row(card: PolicyCard, network: DrivingNetwork, batch: Batch) -> None:
    batch["state"] = batch["state"][:, :7]
    with pytest.raises(PolicyFailure) as caught:
        TorchPolicy(card, network).forward(batch)
    assert caught.value.rows.tolist() == list(range(8))


class _Loud(nn.Module):
    def forward(self, masks: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.full((len(state), 2), 3.0), None


def test_actions_stay_inside_the_spec(card: PolicyCard, batch: Batch) -> None:
    output = TorchPolicy(replace(card, has_value=False), _Loud()).forward(batch)
    assert output.action.max() == 1.0


def test_sampling_depends_on_seed_and_key_alone() -> None:
    mode = np.zeros((4, 2), np.float32)
    std, low, high = (np.array(v, np.float32) for v in ([0.1, 0.5], [-1, -1], [1, 1]))
    keys = np.array([[0, 1, 2], [1, 1, 2], [0, 2, 2], [0, 1, 3]], np.uint64)
    drawn = sample_actions(mode, std, low, high, 7, keys)
    assert len(np.unique(drawn)) == 8
    again = sample_actions(mode, std, low, high, 7, keys[::-1])[::-1]
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, sample_actions(mode, std, low, high, 8, keys))
    many = sample_actions(np.zeros((4000, 2), np.float32), std, low, high, 1, np.arange(12000).reshape(-1, 3))
    np.testing.assert_allclose(many[:, 0].std(), 0.1, rtol=0.1)
    assert np.abs(many).max() <= 1
