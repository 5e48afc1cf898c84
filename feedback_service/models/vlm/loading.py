"""Checkpoint directories of ``transformers``: loaded from disk alone, without code of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from feedback_service.models import torchvision_shim
from feedback_service.models.device import fast_bf16

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class CheckpointError(ValueError):
    """A directory cannot be loaded as a vision-language model; the message says why, in one line."""


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype of that name; without a name bfloat16 where the device computes in it, else float32.

    Raises:
        CheckpointError: There is no such dtype.
    """
    if name:
        if name not in _DTYPES:
            raise CheckpointError(f"dtype {name!r} is not one of {', '.join(_DTYPES)}")
        return _DTYPES[name]
    return torch.bfloat16 if fast_bf16(device) else torch.float32


def load_checkpoint(directory: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Loads a model in evaluation mode, on the CPU, and its processor.

    Args:
        directory: What ``save_pretrained`` of a model and of its processor wrote.
        dtype: Of the weights.

    Raises:
        CheckpointError: It is no image-text-to-text checkpoint that ``transformers`` loads by itself.
    """
    torchvision_shim.install()
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(directory, **local)
        if "rwkv" in config.model_type.lower():
            raise CheckpointError(
                "Visual RWKV is not a model that transformers loads as a vision-language model"
            )
        model, report = AutoModelForImageTextToText.from_pretrained(
            directory, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **local
        )
        if config.model_type == "smolvlm":
            spare_number_words()
        processor = AutoProcessor.from_pretrained(directory, **local)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"transformers cannot load {directory.name}: {_first_line(error)}") from error
    if lacking := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{directory.name} lacks {len(lacking)} weights of its architecture, the first is {lacking[0]}"
        )
    if getattr(processor, "tokenizer", None) is None:
        raise CheckpointError(f"{directory.name} has no processor for pictures and text")
    return model.eval(), processor


def spare_number_words() -> None:
    """Lets SmolVLM's processor be made without the package num2words, which it asks for and uses for videos alone."""
    from transformers.models.smolvlm import processing_smolvlm

    if processing_smolvlm.num2words is None:
        processing_smolvlm.num2words = str


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
