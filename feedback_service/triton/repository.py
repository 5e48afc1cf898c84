"""Models in Triton's repository: a folder each, made from the templates of ``feedback_service/model_repository``."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from codriver.v1 import feedback_pb2

__all__ = ["MAX_BATCH_ROWS", "ModelOptions", "install_model", "remove_model", "template_of"]

TEMPLATES = Path(__file__).resolve().parents[1] / "model_repository"
MAX_BATCH_ROWS = 32
"""Rows that the templates let one call have."""
_TEMPLATE_OF = {
    feedback_pb2.FEEDBACK_KIND_VLM_ACTION: "vlm_action",
    feedback_pb2.FEEDBACK_KIND_CLIP_REWARD: "clip_score",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class ModelOptions:
    """How a model runs; what its kind does not know is left out.

    Attributes:
        threads: Of torch on a CPU.
        device: As torch names it, such as ``cuda:0``; empty: a GPU where there is one.
        dtype: ``float32`` or ``bfloat16``; empty: what suits the device.
        max_new_tokens: Longest answer of a VLM.
        constrained: A VLM can only generate well-formed answers.
    """

    threads: int = 1
    device: str = ""
    dtype: str = ""
    max_new_tokens: int = 32
    constrained: bool = False


def template_of(kind: feedback_pb2.FeedbackKind) -> str:
    """Name of the template for models of a kind.

    Raises:
        ValueError: No model answers that.
    """
    try:
        return _TEMPLATE_OF[kind]
    except KeyError:
        raise ValueError(f"no model answers {feedback_pb2.FeedbackKind.Name(kind)}") from None


def install_model(
    repository: Path,
    triton_model: str,
    kind: feedback_pb2.FeedbackKind,
    directory: Path,
    options: ModelOptions | None = None,
) -> None:
    """Puts a model into the repository, whole or not at all; one of that name is replaced. Triton is not told.

    Args:
        repository: Triton's model repository.
        triton_model: The model's name there: letters, digits, ``_``, ``.`` and ``-``.
        kind: What it answers.
        directory: Its files, as Triton finds them.
        options: How it runs.

    Raises:
        ValueError: The name cannot be one, or no model answers that kind.
        OSError: The repository cannot be written.
    """
    if not _NAME.fullmatch(triton_model):
        raise ValueError(f"{triton_model!r} cannot be the name of a model at Triton")
    template = TEMPLATES / template_of(kind)
    made = repository.with_name(f"{repository.name}.new-{secrets.token_hex(4)}")
    try:
        shutil.copytree(template, made, ignore=shutil.ignore_patterns("__pycache__"))
        written = made / "config.pbtxt"
        text = _configured(written.read_text(), triton_model, directory, options or ModelOptions())
        written.write_text(text)
        repository.mkdir(parents=True, exist_ok=True)
        remove_model(repository, triton_model)
        made.rename(repository / triton_model)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_model(repository: Path, triton_model: str) -> None:
    """Takes a model out of the repository, if it is in there. Triton is not told.

    Raises:
        ValueError: The name cannot be one.
        OSError: The repository cannot be written.
    """
    if not _NAME.fullmatch(triton_model):
        raise ValueError(f"{triton_model!r} cannot be the name of a model at Triton")
    old = repository.with_name(f"{repository.name}.old-{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(repository / triton_model, old)
        shutil.rmtree(old, ignore_errors=True)


def _configured(template: str, name: str, directory: Path, options: ModelOptions) -> str:
    config = text_format.Parse(template, model_config_pb2.ModelConfig())
    config.name = name
    values = {
        "directory": str(directory.absolute()),
        "threads": str(options.threads),
        "device": options.device,
        "dtype": options.dtype,
        "max_new_tokens": str(options.max_new_tokens),
        "constrained": "true" if options.constrained else "false",
    }
    for key in config.parameters:
        config.parameters[key].string_value = values[key]
    return str(text_format.MessageToString(config))
