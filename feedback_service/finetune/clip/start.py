"""The model that a training run begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from codriver.errors import InvalidArgumentError
from feedback_service.finetune.clip.options import SMALL, Options
from feedback_service.models.clip.card import CardError, ClipCard
from feedback_service.models.clip.network import Clip, build
from feedback_service.models.clip.words import caption_words
from feedback_service.models.torchvision_shim import install

install()
import open_clip  # noqa: E402 - it imports torchvision

EMBEDDING = 128
_CONTEXT_LENGTH = 32
"""The longest caption has 31 words, full stops and colons included."""


def small_card(name: str, image_size_px: int, **facts: Any) -> ClipCard:
    """The card of the small model: a ResNet with attention pooling, one text layer, and the captions' own words."""
    words = caption_words()
    return ClipCard(
        open_clip={
            "embed_dim": EMBEDDING,
            "vision_cfg": {
                "layers": [1, 2, 2, 2],
                "width": 24,
                "head_width": 64,
                "image_size": image_size_px,
            },
            "text_cfg": {
                "context_length": _CONTEXT_LENGTH,
                "vocab_size": len(words) + 2,
                "width": 64,
                "heads": 2,
                "layers": 1,
            },
        },
        image_size_px=image_size_px,
        interpolation="box",
        mean=(0.25, 0.25, 0.25),
        std=(0.3, 0.3, 0.3),
        vocabulary=words,
        name=name,
        facts=facts,
    )


def start(options: Options) -> Clip:
    """Makes the model.

    Raises:
        CodriverError: open_clip does not know it, or the weights do not fit.
    """
    torch.manual_seed(options.seed)
    if options.model == SMALL:
        return build(small_card(options.name, options.image_size))
    clip = build(ClipCard(open_clip=options.model, image_size_px=options.image_size, name=options.name))
    if options.weights is not None:
        fill(clip, options.weights)
    return clip


def fill(clip: Clip, weights: Path) -> None:
    """Copies published weights; the position embedding of another image size is interpolated, as open_clip does.

    Raises:
        CardError: The file cannot be read or belongs to another model.
    """
    if weights.suffix != ".safetensors":
        raise InvalidArgumentError(
            f"{weights.name} is not a safetensors file",
            hint="open_clip publishes open_clip_model.safetensors.",
        )
    try:
        open_clip.load_checkpoint(clip.module, str(weights))
    except (OSError, RuntimeError, KeyError, AssertionError) as error:
        raise CardError(f"{weights} are not weights of {clip.card.open_clip}: {str(error)[:300]}") from None
