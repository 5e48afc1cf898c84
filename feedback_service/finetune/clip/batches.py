"""Batches to train on: drawn by weight, decoded, mirrored and shifted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from feedback_service.finetune.clip.data import Pictures, balanced, mirrored
from feedback_service.models.clip.card import ClipCard
from feedback_service.models.clip.pictures import decode


class Batch(NamedTuple):
    """Attributes: pixels (B, 3, S, S) uint8; context (B,) int64; anchor (B,) int64."""

    pixels: torch.Tensor
    context: torch.Tensor
    anchor: torch.Tensor


class Batches:
    """Draws batches with replacement.

    Args:
        pictures: What to draw from; held-out ones are never drawn.
        card: How pictures are read.
        batch: Pictures a batch.
        balance: Exponent of :func:`.data.balanced`.
        mirror: Share that is mirrored.
        shift: Greatest shift in pixels of the model's picture; what comes in is background (black).
    """

    def __init__(
        self, pictures: Pictures, card: ClipCard, batch: int, balance: float, mirror: float, shift: int
    ) -> None:
        self._pictures, self._card, self._batch = pictures, card, batch
        self._mirror, self._shift = mirror, shift
        weight = balanced(pictures.context, pictures.anchor, balance) * ~pictures.held_out
        self._cumulative = np.cumsum(weight)

    def draw(self, rng: np.random.Generator) -> Batch:
        """The next batch."""
        place = rng.random(self._batch) * self._cumulative[-1]
        rows = np.minimum(np.searchsorted(self._cumulative, place, side="right"), len(self._pictures) - 1)
        context, anchor = self._pictures.context[rows], self._pictures.anchor[rows]
        pixels = read(self._pictures, rows, self._card)
        flip = rng.random(self._batch) < self._mirror
        if flip.any():
            other_context, other_anchor = mirrored(context, anchor)
            context, anchor = np.where(flip, other_context, context), np.where(flip, other_anchor, anchor)
            pixels[flip] = pixels[flip][..., ::-1]
        if self._shift:
            pixels = shifted(pixels, rng.integers(-self._shift, self._shift + 1, (self._batch, 2)))
        return Batch(torch.from_numpy(pixels), torch.from_numpy(context), torch.from_numpy(anchor))


def read(pictures: Pictures, rows: NDArray[np.int64], card: ClipCard) -> NDArray[np.uint8]:
    """Decodes some pictures: (B, 3, S, S) uint8."""
    pixels = np.empty((len(rows), 3, card.image_size_px, card.image_size_px), np.uint8)
    for place, row in enumerate(rows.tolist()):
        pixels[place] = decode(pictures.png[row], card.image_size_px, card.interpolation)
    return pixels


def shifted(pixels: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Moves pictures, (B, 3, S, S) uint8, by (B, 2) pixels down and right; black comes in."""
    size, reach = pixels.shape[-1], int(np.abs(offsets).max())
    wide = np.pad(pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    out = np.empty_like(pixels)
    for place, (down, right) in enumerate(offsets.tolist()):
        top, left = reach - down, reach - right
        out[place] = wide[place, :, top : top + size, left : left + size]
    return out
