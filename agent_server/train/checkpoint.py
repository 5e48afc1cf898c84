"""Training state on disk: safetensors and JSON, written in one step after every epoch."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agent_server.policies.base import PolicyLoadError
from agent_server.policies.directory import replace_directory

TENSORS_NAME = "state.safetensors"
FACTS_NAME = "state.json"


def save_checkpoint(
    path: Path,
    network: nn.Module,
    average: Mapping[str, Tensor],
    optimizer: Optimizer,
    facts: Mapping[str, Any],
) -> None:
    """Writes network, averaged weights, optimiser moments and `facts` (JSON values) as a directory."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for name, parameter in network.named_parameters():
        for key, moment in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}.{key}"] = moment
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        safetensors.torch.save_file(
            {k: v.detach().contiguous() for k, v in tensors.items()}, staging / TENSORS_NAME
        )
        (staging / FACTS_NAME).write_text(json.dumps(dict(facts), indent=1), encoding="utf-8")
        replace_directory(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_facts(path: Path) -> dict[str, Any]:
    """Reads the facts of a checkpoint.

    Raises:
        PolicyLoadError: There is no checkpoint, or it is damaged.
    """
    try:
        facts = json.loads((path / FACTS_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PolicyLoadError(f"no checkpoint in {path}", hint="Train without --resume first") from error
    except (OSError, ValueError) as error:
        raise PolicyLoadError(f"checkpoint {path / FACTS_NAME} cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise PolicyLoadError(f"checkpoint {path / FACTS_NAME} is damaged")
    return facts


def load_checkpoint(
    path: Path, network: nn.Module, average: Mapping[str, Tensor], optimizer: Optimizer
) -> None:
    """Reads a checkpoint into a network, its average and its optimiser, in place.

    Raises:
        PolicyLoadError: It is missing, damaged, or of another network.
    """
    try:
        tensors = safetensors.torch.load_file(path / TENSORS_NAME)
        network.load_state_dict({name: tensors[f"network.{name}"] for name in network.state_dict()})
        for name, tensor in average.items():
            tensor.copy_(tensors[f"average.{name}"])
        for name, parameter in network.named_parameters():
            prefix = f"optimizer.{name}."
            moments = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            if moments:
                optimizer.state[parameter] = {k: _laid_out_as(v, parameter) for k, v in moments.items()}
    except (OSError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PolicyLoadError(f"checkpoint {path / TENSORS_NAME} cannot be used: {first}") from error


def _laid_out_as(moment: Tensor, parameter: Tensor) -> Tensor:
    """The moment in the parameter's memory layout, which the fused optimiser takes for granted."""
    if moment.shape != parameter.shape:
        return moment
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)
