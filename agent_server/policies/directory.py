"""Policy directories: ``card.json`` and ``weights.safetensors``, nothing that runs.

A directory is written beside its place and moved there in one step, so that a reader never meets half of one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from agent_server.policies.architectures import build
from agent_server.policies.base import PolicyLoadError
from agent_server.policies.card import CardError, PolicyCard
from agent_server.policies.torch_policy import Precision, TorchPolicy

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
MAX_CARD_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 4 << 30


def save_policy(
    path: str | Path, card: PolicyCard, weights: nn.Module | Mapping[str, torch.Tensor]
) -> PolicyCard:
    """Writes a policy directory, replacing an older policy there.

    Args:
        path: The directory.
        card: What the policy is; its ``weights_sha256`` is filled in.
        weights: A module of the card's architecture, or its state dict. Stored as float32.

    Returns:
        The card as written.

    Raises:
        CodriverError: The card is not valid.
        PolicyLoadError: The place is taken by something that is not a policy.
    """
    card.check()
    path = Path(path)
    if path.exists() and not (path / CARD_NAME).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise PolicyLoadError(f"{path} exists and is not a policy directory", hint="Choose another place")
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    plain = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in state.items()}
    data = safetensors.torch.save(plain)
    card = replace(card, weights_sha256=hashlib.sha256(data).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        staging.chmod(0o755)
        (staging / WEIGHTS_NAME).write_bytes(data)
        (staging / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
        replace_directory(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return card


def load_card(path: str | Path) -> PolicyCard:
    """Reads and checks the card of a policy directory, without its weights.

    Raises:
        PolicyLoadError: There is no card, or it is not valid.
    """
    path = Path(path)
    if not path.is_dir():
        kind = "is not a directory" if path.exists() else "does not exist"
        raise PolicyLoadError(
            f"policy {path} {kind}", hint=f"A policy is a directory with {CARD_NAME} and {WEIGHTS_NAME}"
        )
    raw = _read(path / CARD_NAME, MAX_CARD_BYTES)
    try:
        return PolicyCard.from_json(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PolicyLoadError(f"{path / CARD_NAME} is not UTF-8") from error
    except CardError as error:
        raise PolicyLoadError(f"{path / CARD_NAME}: {error}", field=error.field) from error


def load_module(path: str | Path) -> tuple[PolicyCard, nn.Module]:
    """Loads card and float32 module of a policy directory, to train on or to inspect.

    Raises:
        PolicyLoadError: Something is missing, too large, corrupt or does not fit; the message is one line.
    """
    path = Path(path)
    card = load_card(path)
    file = path / WEIGHTS_NAME
    data = _read(file, MAX_WEIGHTS_BYTES)
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise PolicyLoadError(
            f"{file} is corrupt: its SHA-256 is not the card's", hint="Copy the directory again"
        )
    try:
        state = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise PolicyLoadError(f"{file} is not a safetensors file: {error}") from error
    module = build(card.architecture, card.arguments)
    _fit(file, module, state)
    module.load_state_dict(state)
    return card, module


def load_policy(path: str | Path, precision: Precision = "fp32") -> TorchPolicy:
    """Loads a policy to act with.

    Args:
        path: The policy directory.
        precision: "fp32" or "bf16".

    Raises:
        PolicyLoadError: As :func:`load_module`.
    """
    card, module = load_module(path)
    return TorchPolicy(card, module, precision)


def _fit(file: Path, module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Refuses weights that are not the architecture's, name by name."""
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            raise PolicyLoadError(f"{file} lacks the tensor {name!r} of its architecture")
        if state[name].shape != tensor.shape:
            got, want = list(state[name].shape), list(tensor.shape)
            raise PolicyLoadError(f"{file}: tensor {name!r} has shape {got}; the architecture wants {want}")
        if not bool(torch.isfinite(state[name]).all()):
            raise PolicyLoadError(f"{file}: tensor {name!r} holds NaN or infinity")
    extra = sorted(set(state) - set(wanted))
    if extra:
        raise PolicyLoadError(
            f"{file} has {len(extra)} tensors that its architecture has not, the first is {extra[0]!r}"
        )


def _read(file: Path, limit: int) -> bytes:
    try:
        size = file.stat().st_size
        if size > limit:
            raise PolicyLoadError(f"{file} has {size} bytes; at most {limit} are read")
        return file.read_bytes()
    except FileNotFoundError as error:
        raise PolicyLoadError(f"{file} is missing") from error
    except OSError as error:
        raise PolicyLoadError(f"{file} cannot be read: {error.strerror}") from error


def replace_directory(staging: Path, path: Path) -> None:
    """Puts `staging` at `path`; an older directory there is moved aside first and then removed."""
    if path.exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
        os.replace(path, aside / "old")
        os.replace(staging, path)
        shutil.rmtree(aside)
    else:
        os.replace(staging, path)
