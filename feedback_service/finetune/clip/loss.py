"""The two losses: of the batch's captions, as in the paper, or of the 30 anchors of each picture's context."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch.nn import functional

from feedback_service.models.torchvision_shim import install

install()
from open_clip.loss import ClipLoss  # noqa: E402 - it imports torchvision

TextFeatures = Callable[[torch.Tensor], torch.Tensor]
"""From (N, L) int64 tokens to (N, D) unit vectors."""


def anchors_loss(
    image: torch.Tensor,
    text: torch.Tensor,
    context: torch.Tensor,
    anchor: torch.Tensor,
    scale: torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy over the 30 anchors of each picture's own context.

    This is the question that is asked of the model when it serves. No two of a context's captions are equal, so that
    nothing that is right counts as wrong.

    Args:
        image: (B, D) unit vectors of the pictures.
        text: (C, 30, D) unit vectors of the captions of C contexts.
        context: (B,) int64 index into the first axis of `text`.
        anchor: (B,) int64 label.
        scale: What cosines are multiplied with.
        smoothing: Label smoothing.

    Returns:
        Scalar, the batch's mean.
    """
    logits = scale * torch.einsum("bd,cad->bca", image, text)
    own = logits[torch.arange(len(image), device=image.device), context]
    return functional.cross_entropy(own, anchor, label_smoothing=smoothing)


def contrastive_loss(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """open_clip's own loss: each picture against all captions of the batch, and each caption against all pictures.

    The captions repeat: there are 720, and a few of them are most of any batch. Each further picture of one caption
    counts as a wrong answer here, which holds the loss up however good the model is (at best, n equal captions cost
    log n each).

    Args:
        image: (B, D) unit vectors of the pictures.
        text: (B, D) unit vectors of their captions.
        scale: What cosines are multiplied with.

    Returns:
        Scalar, the mean of both directions.
    """
    return cast("torch.Tensor", ClipLoss()(image, text, scale))


def batch_loss(
    kind: str,
    image: torch.Tensor,
    text_features: TextFeatures,
    tokens: torch.Tensor,
    context: torch.Tensor,
    anchor: torch.Tensor,
    scale: torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """The loss of a batch; only captions that it needs go through the text tower.

    Args:
        kind: ``anchors`` or ``contrastive``.
        image: (B, D) unit vectors.
        text_features: The text tower.
        tokens: (24, 30, L) int64 tokens of all captions.
        context: (B,) int64.
        anchor: (B,) int64.
        scale: What cosines are multiplied with.
        smoothing: Label smoothing of ``anchors``.

    Returns:
        Scalar.
    """
    if kind == "contrastive":
        pairs, place = torch.unique(context * tokens.shape[1] + anchor, return_inverse=True)
        text = text_features(tokens.flatten(0, 1)[pairs])
        return contrastive_loss(image, text[place], scale)
    contexts, place = torch.unique(context, return_inverse=True)
    text = text_features(tokens[contexts].flatten(0, 1)).view(len(contexts), tokens.shape[1], -1)
    return anchors_loss(image, text, place, anchor, scale, smoothing)
