"""Scores pictures: probabilities of the 30 actions of a context."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from codriver.coaching.vocabulary import ANCHORS, CONTEXTS
from codriver.errors import InvalidArgumentError
from feedback_service.models.clip.network import Clip, load
from feedback_service.models.clip.pictures import PictureError, decode, normalise
from feedback_service.models.device import choose_device, fast_bf16

DTYPES = ("auto", "fp32", "bf16")
_TEXT_BATCH = 120


class ClipScorer:
    """A CLIP that is ready to score. Not for several threads at once.

    The 720 captions go through the text tower once, here; a call runs the image tower alone. Probabilities are
    softmax(exp(logit_scale) * cosine) over the context's 30 anchors.

    Args:
        directory: A CLIP directory, see :mod:`feedback_service.models.clip.card`.
        device: auto (a GPU where there is one), cpu or cuda; None is auto.
        dtype: fp32, bf16, or auto: the faster one of the two, as measured here where the hardware has bfloat16.
        threads: Processor threads of torch, for the whole process.

    Attributes:
        name: From the card.
        version: From the card, else the beginning of the weights' hash.
        parameters: Facts for operators: device, dtype, image size, number of parameters; texts.

    Raises:
        CodriverError: The directory cannot be used, or an argument is not valid.
    """

    def __init__(
        self, directory: Path, *, device: str | None = None, dtype: str | None = None, threads: int = 1
    ) -> None:
        wanted = dtype or "auto"
        if wanted not in DTYPES:
            raise InvalidArgumentError(f"dtype is {dtype!r}; expected one of {', '.join(DTYPES)}")
        self._device = choose_device(device)
        torch.set_num_threads(max(1, threads))
        clip = load(Path(directory))
        self._card = card = clip.card
        self._text = _embed(clip, self._device)
        self._scale = clip.scale.detach().clone()
        visual = cast("torch.nn.Module", clip.module.visual)
        self._visual, self._dtype = _fastest(visual, card.image_size_px, self._device, wanted)
        self.name = card.name
        self.version = card.version or card.weights_sha256[:12]
        self.parameters: Mapping[str, str] = {
            "device": str(self._device),
            "dtype": "bf16" if self._dtype == torch.bfloat16 else "fp32",
            "image_size_px": str(card.image_size_px),
            "parameters": str(clip.parameters),
            "scale": f"{float(self._scale):.2f}",
        }

    @torch.inference_mode()
    def score(
        self, pictures: Sequence[bytes], contexts: NDArray[np.integer]
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Scores pictures; one that cannot be read costs the others nothing.

        Args:
            pictures: N PNG files.
            contexts: (N,) command * 4 + speed bin, 0 to 23.

        Returns:
            (N, 30) float32 probabilities, 0 in rows with an error; and N errors, empty where all is well.

        Raises:
            ValueError: The lengths differ.
        """
        contexts = np.asarray(contexts, np.int64).reshape(-1)
        if len(pictures) != len(contexts):
            raise ValueError(f"{len(pictures)} pictures, {len(contexts)} contexts")
        probabilities = np.zeros((len(pictures), ANCHORS), np.float32)
        errors = [""] * len(pictures)
        rows, pixels = [], []
        for row, (png, context) in enumerate(zip(pictures, contexts.tolist(), strict=True)):
            if not 0 <= context < CONTEXTS:
                errors[row] = f"context {context} is not 0 to {CONTEXTS - 1}"
                continue
            try:
                pixels.append(decode(png, self._card.image_size_px, self._card.interpolation))
                rows.append(row)
            except PictureError as error:
                errors[row] = str(error)
        if rows:
            stacked = torch.from_numpy(np.stack(pixels)).to(self._device)
            answers = self._forward(stacked, torch.from_numpy(contexts[rows]).to(self._device))
            for row, answer in zip(rows, answers, strict=True):
                if np.isfinite(answer).all():
                    probabilities[row] = answer
                else:
                    errors[row] = "the model answered with numbers that are not finite"
        return probabilities, errors

    def _forward(self, pixels: torch.Tensor, contexts: torch.Tensor) -> NDArray[np.float32]:
        features = self._visual(normalise(pixels, self._card, self._dtype)).float()
        image = functional.normalize(features, dim=-1)
        logits = self._scale * torch.einsum("bd,bad->ba", image, self._text[contexts])
        return np.asarray(logits.softmax(dim=-1).cpu().numpy(), np.float32)


@torch.inference_mode()
def _embed(clip: Clip, device: torch.device) -> torch.Tensor:
    """Unit vectors of the 720 captions, (24, 30, D) float32 on the device."""
    clip.module.to(device)
    tokens = clip.caption_tokens().flatten(0, 1).to(device)
    parts = [clip.text_features(part).float() for part in torch.split(tokens, _TEXT_BATCH)]
    return torch.cat(parts).view(CONTEXTS, ANCHORS, -1)


@torch.inference_mode()
def _fastest(
    visual: torch.nn.Module, size_px: int, device: torch.device, wanted: str
) -> tuple[torch.nn.Module, torch.dtype]:
    """The image tower in the precision that is wanted, or in the faster one of two."""
    dtypes = [torch.bfloat16] if wanted == "bf16" else [torch.float32]
    if wanted == "auto" and fast_bf16(device):
        dtypes = [torch.bfloat16] if device.type == "cuda" else [torch.bfloat16, torch.float32]
    timed = []
    for dtype in dtypes:
        tower = copy.deepcopy(visual).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        seconds = _seconds(tower, size_px, device, dtype) if len(dtypes) > 1 else 0.0
        timed.append((seconds, tower, dtype))
    _, tower, dtype = min(timed, key=lambda entry: entry[0])
    return tower, dtype


def _seconds(tower: torch.nn.Module, size_px: int, device: torch.device, dtype: torch.dtype) -> float:
    """Processor time of a forward pass of a small batch: the best of a few, since other programs run too."""
    pixels = torch.zeros(8, 3, size_px, size_px, dtype=dtype, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    tower(pixels)
    times = []
    for _ in range(3):
        begin = time.process_time()
        tower(pixels)
        times.append(time.process_time() - begin)
    return min(times)
