"""PNG files to pictures for a processor."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 4096 * 4096
"""A picture that claims more is refused before it is decoded."""


class PictureError(ValueError):
    """A picture cannot be read; the message says why."""


def open_picture(png: bytes) -> Image.Image:
    """Decodes a PNG file to an RGB picture.

    Raises:
        PictureError: It is not a PNG file, damaged, or too large.
    """
    if not png:
        raise PictureError("there is no picture")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.width * image.height <= MAX_PIXELS:
                return image.convert("RGB")
            problem = f"the picture has {image.width} x {image.height} pixels, too many"
    except UnidentifiedImageError:
        problem = "not a PNG file"
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        problem = f"the PNG file cannot be read: {str(error)[:120]}"
    raise PictureError(problem)
