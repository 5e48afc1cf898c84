"""What ``clip_score`` runs in Triton."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from feedback_service.models.clip.scorer import ClipScorer
from feedback_service.models.triton_rows import Column, RowModel, texts, threads

__all__ = ["TritonPythonModel"]

_DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
"""The scorer's words for torch's."""


class TritonPythonModel(RowModel):
    """Probabilities of a context's captions for a picture."""

    inputs = ("picture", "context")

    def load(self, directory: Path, parameters: Mapping[str, str]) -> None:
        """Loads the CLIP."""
        self._scorer = ClipScorer(
            directory,
            device=parameters.get("device") or None,
            dtype=_DTYPES.get(given := parameters.get("dtype", ""), given) or None,
            threads=threads(parameters),
        )

    def warm_up(self, picture: bytes) -> None:
        """Scores it once."""
        _, (error,) = self._scorer.score([picture], np.zeros(1, np.int64))
        if error:
            raise RuntimeError(error)

    def answer(self, *columns: Column) -> dict[str, Column]:
        """Scores all rows."""
        pictures, contexts = columns
        probabilities, errors = self._scorer.score(pictures.tolist(), contexts.astype(np.int64))
        probabilities = np.array(probabilities, dtype=np.float32)
        probabilities[[bool(error) for error in errors]] = np.nan
        return {"probabilities": probabilities, "error": texts(errors)}
