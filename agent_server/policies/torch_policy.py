"""A torch module as a policy: arrays in, arrays out, in float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agent_server.policies.base import PolicyFailure, PolicyOutput
from agent_server.policies.card import PolicyCard

Precision = Literal["fp32", "bf16"]


class TorchPolicy:
    """Runs a module on a batch of decoded tensors.

    The same batch gives the same bits. The same row in batches of different sizes may differ in its last bits,
    because kernels are chosen by size. Threads are the caller's choice (``torch.set_num_threads``): one fewer than
    cores, because two threads collapse when another process needs the second core.

    Args:
        card: What the policy is.
        module: As in :mod:`agent_server.policies.architectures`. It is taken over: cast and set to evaluation.
        precision: "fp32", or "bf16" for a cast copy of the weights (not autocast, which casts them at every call).
    """

    def __init__(self, card: PolicyCard, module: nn.Module, precision: Precision = "fp32") -> None:
        self._card = card
        self.precision = precision
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._module = module.to(dtype=dtype, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self._names = [tensor.name for tensor in card.observation_spec.tensors if not tensor.optional]
        self._low = np.asarray(card.action_spec.low, dtype=np.float32)
        self._high = np.asarray(card.action_spec.high, dtype=np.float32)

    @property
    def card(self) -> PolicyCard:
        """What the policy is and reads."""
        return self._card

    def forward(self, tensors: Mapping[str, NDArray[Any]]) -> PolicyOutput:
        """Answers a batch; see :class:`agent_server.policies.base.Policy`.

        Raises:
            PolicyFailure: Rows whose action or value is not finite, or all rows when the module failed.
        """
        inputs = [np.ascontiguousarray(tensors[name]) for name in self._names]
        rows = len(inputs[0])
        if rows == 0:
            return self._blank(0)
        try:
            with torch.inference_mode():
                action, value = self._module(*(_to_torch(array) for array in inputs))
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            message = f"policy {self._card.id} failed: {first}"
            raise PolicyFailure(message, np.arange(rows), self._blank(rows)) from error
        output = PolicyOutput(_to_numpy(action), _to_numpy(value) if self._card.has_value else None)
        return self._checked(output)

    def _checked(self, output: PolicyOutput) -> PolicyOutput:
        """Clips to the action space and refuses rows that are not finite."""
        action, value = output
        good: NDArray[np.bool_] = np.asarray(np.isfinite(action).all(axis=1))
        if value is not None:
            good = good & np.isfinite(value)
        if good.all():
            return PolicyOutput(np.clip(action, self._low, self._high), value)
        action = np.where(good[:, None], np.clip(action, self._low, self._high), np.float32(0))
        value = None if value is None else np.where(good, value, np.float32(0))
        bad = np.flatnonzero(~good)
        message = f"policy {self._card.id} answered NaN or infinity in {len(bad)} of {len(good)} rows"
        raise PolicyFailure(message, bad, PolicyOutput(action, value))

    def _blank(self, rows: int) -> PolicyOutput:
        value = np.zeros(rows, np.float32) if self._card.has_value else None
        return PolicyOutput(np.zeros((rows, len(self._low)), np.float32), value)


def _to_torch(array: NDArray[Any]) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().numpy()
    return array
