"""The driving network: a small convolutional extractor, an actor head and an optional value head.

Layout of the extractor and of the actor head: Found-RL, released configuration (``LiteXtMaCNN`` and the default
heads of its base library). The value head is codriver's own and never changes an action.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

CONV_CHANNELS = (32, 64, 128, 256)
"""Output channels of the four 3x3 convolutions (stride 2, padding 1) before the 1x1 convolution."""
NECK_CHANNELS = 64
STATE_WIDTH = 256
FEATURE_WIDTH = 256
ACTOR_WIDTHS = (400, 300)
VALUE_WIDTH = 64


def _mlp(widths: Sequence[int], last: nn.Module | None) -> nn.Sequential:
    """Linear layers with ReLU between them, and `last` (or nothing) after the final one."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    layers.pop()
    if last is not None:
        layers.append(last)
    return nn.Sequential(*layers)


class Extractor(nn.Module):
    """Masks and state to 256 features.

    Args:
        channels: Channels of the masks.
        size: Height and width of the masks in pixels.
        state_items: Length of the state vector.
    """

    def __init__(self, channels: int, size: int, state_items: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *CONV_CHANNELS)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            size = (size + 1) // 2
        layers += [nn.Conv2d(CONV_CHANNELS[-1], NECK_CHANNELS, 1), nn.ReLU(inplace=True), nn.Flatten()]
        self.masks = nn.Sequential(*layers)
        self.state = _mlp((state_items, STATE_WIDTH, STATE_WIDTH), nn.ReLU(inplace=True))
        joint = NECK_CHANNELS * size * size + STATE_WIDTH
        self.joint = _mlp((joint, FEATURE_WIDTH, FEATURE_WIDTH), nn.ReLU(inplace=True))

    def forward(self, masks: Tensor, state: Tensor) -> Tensor:
        """Features (B, 256) of masks (B, C, H, W) in 0..1 and state (B, S)."""
        features: Tensor = self.joint(torch.cat([self.masks(masks), self.state(state)], dim=1))
        return features


class DrivingNetwork(nn.Module):
    """Extractor, actor head (400-300, tanh) and optional value head (64).

    Args:
        channels: Channels of the masks.
        size: Height and width of the masks in pixels.
        state_items: Length of the state vector.
        actions: Action dimensions.
        value_head: True: also estimate the discounted return.
        value_scale: Constant factor between the value head and the return, so that the head works near 1.
        ignored_state: Indices of state items that the network never sees (they are set to 0 inside). A cloned policy
            that sees its own last control learns to repeat it ("copycat"); see ``agent_server.train.bc``.
    """

    keep_state: Tensor

    def __init__(
        self,
        channels: int = 15,
        size: int = 96,
        state_items: int = 10,
        actions: int = 2,
        value_head: bool = True,
        value_scale: float = 100.0,
        ignored_state: Sequence[int] = (),
    ) -> None:
        super().__init__()
        outside = [i for i in ignored_state if not 0 <= i < state_items]
        if outside:
            raise ValueError(f"ignored_state: {outside} outside 0..{state_items - 1}")
        self.extractor = Extractor(channels, size, state_items)
        self.actor = _mlp((FEATURE_WIDTH, *ACTOR_WIDTHS, actions), nn.Tanh())
        self.value_scale = value_scale
        self.value = _mlp((FEATURE_WIDTH, VALUE_WIDTH, 1), None) if value_head else None
        keep = torch.ones(state_items)
        keep[list(ignored_state)] = 0
        self.register_buffer("keep_state", keep, persistent=False)
        self.apply(_xavier)

    def features(self, masks: Tensor, state: Tensor) -> Tensor:
        """Features (B, 256) of masks (B, C, H, W) uint8 (or already scaled to 0..1) and state (B, S), un-normalised."""
        dtype = self.keep_state.dtype
        if masks.dtype == torch.uint8:
            masks = masks.to(dtype).div_(255)
        features: Tensor = self.extractor(masks, state.to(dtype) * self.keep_state)
        return features

    def forward(self, masks: Tensor, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Actions (B, A) in -1..1 and values (B,) or None.

        Args:
            masks: (B, C, H, W) uint8 levels; divided by 255 inside.
            state: (B, S) as observed; velocities in m/s, nothing normalised (as in Found-RL's release).
        """
        features = self.features(masks, state)
        return self.actor(features), self.values(features)

    def values(self, features: Tensor) -> Tensor | None:
        """Values (B,) of features (B, 256), or None without a value head."""
        if self.value is None:
            return None
        value: Tensor = self.value(features).squeeze(1) * self.value_scale
        return value

    def parameter_counts(self) -> dict[str, int]:
        """Exact number of parameters of each part, and of what is deployed to act (extractor and actor head)."""
        counts = {"extractor": _count(self.extractor), "actor_head": _count(self.actor)}
        counts["deployed_actor"] = sum(counts.values())
        counts["value_head"] = 0 if self.value is None else _count(self.value)
        return counts


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
