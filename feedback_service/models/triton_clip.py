"""What ``clip_score`` runs in Triton."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from feedback_service.models.clip.scorer import ClipScorer
from feedback_service.models.triton_rows import Column, RowModel, texts, threads

__all__ = ["TritonPythonModel"]


class TritonPythonModel(RowModel):
    """Probabilities of a context's captions for a picture."""

    inputs = ("picture", "context")

    def load(self, directory: Path, parameters: Mapping[str, str]) -> None:
        """Loads the CLIP."""
        self._scorer = ClipScorer(
            directory,
            device=parameters.get("device") or None,
            dtype=parameters.get("dtype") or None,
            threads=threads(parameters),
        )

    def warm_up(self, picture: bytes) -> None:
        """Scores it once."""
        self._scorer.score([picture], np.zeros(1, np.int64))

    def answer(self, *columns: Column) -> dict[str, Column]:
        """Scores all rows."""
        pictures, contexts = columns
        probabilities, errors = self._scorer.score(pictures.tolist(), contexts.astype(np.int64))
        return {
            "probabilities": np.ascontiguousarray(probabilities, dtype=np.float32),
            "error": texts(errors),
        }
