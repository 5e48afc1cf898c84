"""Where a model runs, and in which precision."""

from __future__ import annotations

import torch

from codriver.errors import InvalidArgumentError


def choose_device(name: str | None) -> torch.device:
    """The device of a name; None, empty or "auto": a GPU where there is one.

    Raises:
        InvalidArgumentError: There is no such device.
    """
    if name in (None, "", "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidArgumentError(f"device {name!r} is not known; expected auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgumentError("device cuda: torch sees no GPU here")
    return device


def fast_bf16(device: torch.device) -> bool:
    """True where the hardware has bfloat16 instructions; without them bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    found = torch.cpu.get_capabilities()
    return any(bool(found.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
