"""What a policy is to the server: a card that says what it reads, and one batched forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from agent_server.policies.card import PolicyCard
from codriver.errors import CodriverError, FailedPreconditionError

Floats = NDArray[np.float32]


class PolicyOutput(NamedTuple):
    """Answers to a batch of B observations.

    Attributes:
        action: (B, A) float32, the mode of the policy's distribution, inside the card's action spec.
        value: (B,) float32 estimate of the discounted return, or None when the policy estimates none.
    """

    action: Floats
    value: Floats | None


class Policy(Protocol):
    """Anything that maps observations to actions. Implementations hold no state between calls."""

    @property
    def card(self) -> PolicyCard:
        """What the policy is and reads."""
        ...

    def forward(self, tensors: Mapping[str, NDArray[Any]]) -> PolicyOutput:
        """Answers a batch.

        Args:
            tensors: One array (B, *shape) for each tensor of the card's observation spec that is not optional,
                decoded: masks as uint8 levels, state as float32. Other entries are ignored.

        Raises:
            PolicyFailure: Some rows have no usable answer.
        """
        ...


class PolicyLoadError(FailedPreconditionError):
    """A policy directory cannot be used; the message says which part of it and why."""

    default_reason = "POLICY_NOT_USABLE"


class PolicyFailure(CodriverError):
    """A forward pass gave no usable answer for some rows.

    Args:
        message: One line: what happened.
        rows: (K,) int64 indices of the rows without an answer.
        output: Answers; those of `rows` are 0 and mean nothing.
    """

    status_name = "INTERNAL"
    default_reason = "POLICY_FAILED"

    def __init__(self, message: str, rows: NDArray[np.int64], output: PolicyOutput) -> None:
        super().__init__(message)
        self.rows = rows
        self.output = output


def sample_actions(
    mode: Floats, std: Floats, low: Floats, high: Floats, seed: int, keys: NDArray[np.uint64]
) -> Floats:
    """Draws actions from a Gaussian around the policy's mode, clipped to the action space.

    The noise of a row depends on the seed and on the row's key alone, so that a drive can be repeated although
    its rows meet other batches the next time.

    Args:
        mode: (B, A) actions.
        std: (A,) standard deviations, as in the card.
        low: (A,) lowest actions.
        high: (A,) highest actions.
        seed: Seed of the session.
        keys: (B, 3) env, episode and step of each row.

    Returns:
        (B, A) float32.
    """
    noise = np.empty_like(mode)
    for row, key in enumerate(keys.tolist()):
        noise[row] = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([seed, *key]))
        ).standard_normal(mode.shape[1], dtype=np.float32)
    sampled: Floats = np.clip(mode + noise * std, low, high).astype(np.float32)
    return sampled
