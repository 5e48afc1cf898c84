"""A directory as a CLIP: a card that names the open_clip model, and its weights."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from feedback_service.registry.files import sha256_of, write_whole
from feedback_service.registry.refusal import NotAModelError, read_json_object
from feedback_service.registry.weights_file import WeightsFile, read_weights_file

FORMAT = "codriver-clip/1"
"""Value of the card's ``format``."""
FAMILY = "open_clip"
CARD = "card.json"
WEIGHTS = "weights.safetensors"
IMAGE_SIZES_PX = range(32, 1025)
DEFAULT_IMAGE_SIZE_PX = 224


def inspect_clip(directory: Path) -> tuple[str, int]:
    """Checks a CLIP's directory.

    Args:
        directory: ``card.json`` and the weights that it names.

    Returns:
        The family, and the number of parameters.

    Raises:
        NotAModelError: It cannot be served; the message names what is missing or wrong, and the way out.
    """
    if not (directory / CARD).exists():
        raise NotAModelError(
            f"there is no {CARD} in {directory}",
            hint="For the weights of an open_clip model say --open-clip NAME, as --open-clip ViT-B-16.",
        )
    card = read_json_object(directory / CARD)
    if card.get("format") != FORMAT:
        raise NotAModelError(f"format in {CARD} is {card.get('format')!r}; this release reads {FORMAT!r}")
    check_model(card.get("open_clip"), card.get("image_size_px"))
    name = card.get("weights", WEIGHTS)
    if not isinstance(name, str) or Path(name).name != name:
        raise NotAModelError(f"weights in {CARD} is {name!r}, not the name of a file beside it")
    weights = _read_clip_weights(directory / name)
    _check_image_size(name, weights, card["image_size_px"])
    expected = card.get("weights_sha256")
    if expected and expected != sha256_of(directory / name):
        raise NotAModelError(f"{name} is not the file that {CARD} was written for: another SHA-256")
    return FAMILY, weights.parameters


def check_model(open_clip: Any, image_size_px: Any) -> None:
    """Checks what a card says of the architecture.

    Args:
        open_clip: A name that open_clip knows, as ``"ViT-B-16"``, or its configuration as an object.
        image_size_px: Height and width of the picture as the model takes it, in pixels.

    Raises:
        NotAModelError: One of them is not valid.
    """
    if isinstance(open_clip, dict):
        missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in open_clip]
        if missing:
            raise NotAModelError(f"open_clip in {CARD} has no {missing[0]}")
    elif not isinstance(open_clip, str) or not open_clip.isprintable() or not 0 < len(open_clip) <= 100:
        raise NotAModelError(f"open_clip in {CARD} is neither a model's name nor its configuration")
    elif open_clip.startswith(("hf-hub:", "local-dir:")) or "/" in open_clip:
        raise NotAModelError(
            f"{open_clip!r} would be fetched from elsewhere", hint="Name the architecture, as ViT-B-16."
        )
    if isinstance(image_size_px, bool) or image_size_px not in IMAGE_SIZES_PX:
        raise NotAModelError(
            f"image size {image_size_px!r} is not a number of pixels from {IMAGE_SIZES_PX[0]} to {IMAGE_SIZES_PX[-1]}"
        )


def write_clip_directory(
    target: Path, weights: Path, open_clip: str, image_size_px: int | None = None, name: str = ""
) -> None:
    """Makes a CLIP's directory of the weights of an open_clip model. All of it is there at the end, or nothing.

    Args:
        target: Directory to make; must not exist.
        weights: Safetensors file; it is linked where the file system can, and copied otherwise.
        open_clip: Name that open_clip knows, as ``"ViT-B-16"``.
        image_size_px: Size that the model was trained or fine-tuned at, in pixels. None: what the weights say, or 224.
        name: Name of the model. Empty: the directory's.

    Raises:
        NotAModelError: The arguments or the file are not valid.
    """
    check_model(open_clip, DEFAULT_IMAGE_SIZE_PX if image_size_px is None else image_size_px)
    if weights.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        raise NotAModelError(
            f"{weights.name} is a pickle, which can run any code when it is read",
            hint="Convert it: safetensors.torch.save_file(open_clip.load_state_dict(FILE), 'weights.safetensors').",
        )
    found = _read_clip_weights(weights)
    if image_size_px is None:
        image_size_px = image_size_of(found) or DEFAULT_IMAGE_SIZE_PX
    _check_image_size(weights.name, found, image_size_px)
    staging = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        try:
            os.link(weights.resolve(), staging / WEIGHTS)
        except OSError:  # another file system, or one without links
            shutil.copyfile(weights, staging / WEIGHTS)
        card = {
            "format": FORMAT,
            "name": name or target.name,
            "open_clip": open_clip,
            "image_size_px": image_size_px,
            "weights": WEIGHTS,
            "weights_sha256": sha256_of(staging / WEIGHTS),
        }
        write_whole(staging / CARD, json.dumps(card, indent=1) + "\n")
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def image_size_of(weights: WeightsFile) -> int | None:
    """Size of the pictures that open_clip's own towers were trained at, in pixels; None: the weights do not tell.

    It stands in the number of positions: one a patch, or one for 32 x 32 pixels in a ResNet, and one more.
    """
    patch = weights.shapes.get("visual.conv1.weight", ())
    positions = weights.shapes.get("visual.positional_embedding")
    if positions is not None and len(patch) == 4:
        stride_px = patch[-1]
    else:
        positions, stride_px = weights.shapes.get("visual.attnpool.positional_embedding"), 32
    if positions is None or len(positions) != 2:
        return None
    side = math.isqrt(max(positions[0] - 1, 0))
    return side * stride_px if side * side == positions[0] - 1 else None


def _check_image_size(name: str, weights: WeightsFile, image_size_px: int) -> None:
    trained_px = image_size_of(weights)
    if trained_px is not None and trained_px != image_size_px:
        raise NotAModelError(
            f"{name} was trained on pictures of {trained_px} px, not {image_size_px}",
            hint=f"Say --image-size {trained_px}, or fine-tune it at {image_size_px}.",
        )


def _read_clip_weights(path: Path) -> WeightsFile:
    weights = read_weights_file(path)
    names = weights.shapes
    if any(name.startswith("vision_model.") for name in names):
        raise NotAModelError(
            f"{path.name} is a CLIP of transformers, not of open_clip",
            hint="Take the file that open_clip publishes (open_clip_model.safetensors).",
        )
    if "logit_scale" not in names or not any(name.startswith("visual.") for name in names):
        raise NotAModelError(f"{path.name} is not an open_clip model: no logit_scale, or no visual tower")
    return weights
