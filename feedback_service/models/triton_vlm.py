"""What ``vlm_action`` runs in Triton."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from feedback_service.models.triton_rows import Column, RowModel, flag, texts, threads
from feedback_service.models.vlm.generator import VlmGenerator

__all__ = ["TritonPythonModel"]

_DTYPES = {"auto": "", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Torch's words for shorter ones."""


class TritonPythonModel(RowModel):
    """What a vision-language model says about a picture."""

    inputs = ("picture", "prompt")

    def load(self, directory: Path, parameters: Mapping[str, str]) -> None:
        """Loads the model, its processor and its tokenizer."""
        self._generator = VlmGenerator(
            directory,
            device=parameters.get("device") or None,
            dtype=_DTYPES.get(given := parameters.get("dtype", ""), given) or None,
            threads=threads(parameters),
            max_new_tokens=int(parameters.get("max_new_tokens") or 32),
            constrained=flag(parameters, "constrained"),
        )

    def warm_up(self, picture: bytes) -> None:
        """Answers it once."""
        _, (error,) = self._generator.answer([picture], ["What should the driver do?"])
        if error:
            raise RuntimeError(error)

    def answer(self, *columns: Column) -> dict[str, Column]:
        """Answers all rows."""
        pictures, prompts = columns
        said, errors = self._generator.answer(
            pictures.tolist(), [prompt.decode("utf-8", "replace") for prompt in prompts]
        )
        return {"text": texts(said), "error": texts(errors)}
