"""PNG files to the pixels that a CLIP takes. Training and serving share this file, so that both see the same."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from feedback_service.models.clip.card import ClipCard

MAX_PIXELS = 4096 * 4096
"""A picture that claims more is refused before it is decoded."""
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


class PictureError(ValueError):
    """A picture cannot be read; the message says why."""


def decode(png: bytes, size_px: int, interpolation: str) -> NDArray[np.uint8]:
    """Decodes a PNG file.

    Args:
        png: The file.
        size_px: Height and width of the result.
        interpolation: How a picture of another size is resized; one of ``card.INTERPOLATIONS``.

    Returns:
        (3, size_px, size_px) uint8 RGB.

    Raises:
        PictureError: It is not a PNG file, damaged, or too large.
    """
    if not png:
        raise PictureError("there is no picture")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(f"the picture has {image.width} x {image.height} pixels, too many")
            rgb = image.convert("RGB")
    except UnidentifiedImageError:
        raise PictureError("not a PNG file") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"the PNG file is damaged: {str(error)[:120]}") from None
    if rgb.size != (size_px, size_px):
        rgb = rgb.resize((size_px, size_px), _FILTERS[interpolation])
    return np.ascontiguousarray(np.asarray(rgb, np.uint8).transpose(2, 0, 1))


def normalise(pixels: torch.Tensor, card: ClipCard, dtype: torch.dtype) -> torch.Tensor:
    """Centres colours as the card says.

    Args:
        pixels: (B, 3, H, W) uint8.
        card: With mean and std.
        dtype: Of the result.

    Returns:
        (B, 3, H, W) of `dtype`, on the device of `pixels`, channels last in memory.
    """
    mean = torch.tensor(card.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(card.std, device=pixels.device).view(1, 3, 1, 1)
    values = (pixels.float().div_(255) - mean).div_(std)
    return values.to(dtype, memory_format=torch.channels_last)
