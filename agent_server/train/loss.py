"""Loss of behaviour cloning."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import smooth_l1_loss

ACCELERATION_BETA = 0.1
STEER_BETA = 0.02
VALUE_BETA = 0.1


def cloning_loss(action: Tensor, label: Tensor, steer_weight: float) -> Tensor:
    """Smooth L1 to the expert's action.

    Absolute error beyond a small quadratic zone, because the expert's action is often one of two (go or wait) and
    their mean is neither. Steering is weighted up: its useful range is small, and small errors add up along a lane.

    Args:
        action: (B, 2) acceleration and steer of the policy.
        label: (B, 2) those of the expert.
        steer_weight: Weight of steering against acceleration.
    """
    action = action.float()
    pedals = smooth_l1_loss(action[:, 0], label[:, 0], beta=ACCELERATION_BETA)
    steer = smooth_l1_loss(action[:, 1], label[:, 1], beta=STEER_BETA)
    return pedals + steer_weight * steer


def value_loss(value: Tensor, target: Tensor, scale: float) -> Tensor:
    """Smooth L1 of values (B,) to discounted returns (B,), both divided by the value head's scale."""
    return smooth_l1_loss(value.float() / scale, target / scale, beta=VALUE_BETA)
