"""A CLIP directory as a torch module: open_clip's model, the directory's weights, and the tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from codriver.coaching.vocabulary import ANCHORS, CONTEXTS, all_captions
from feedback_service.models.clip.card import CardError, ClipCard, read_card, sha256_of, write_card
from feedback_service.models.clip.words import WordTokenizer
from feedback_service.models.torchvision_shim import install

install()
import open_clip  # noqa: E402 - it imports torchvision
from open_clip.model import convert_to_custom_text_state_dict  # noqa: E402

Tokenizer = Callable[[Sequence[str]], torch.Tensor]


class Clip(NamedTuple):
    """A model that is ready to use. Attributes: card; module: open_clip's, on the CPU in float32; tokenizer."""

    card: ClipCard
    module: torch.nn.Module
    tokenizer: Tokenizer

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit vectors of pictures: (B, 3, H, W) normalised pixels to (B, D)."""
        return cast("torch.Tensor", self.module.encode_image(pixels, normalize=True))  # type: ignore[operator]

    def text_features(self, tokens: torch.Tensor) -> torch.Tensor:
        """Unit vectors of texts: (N, L) int64 tokens to (N, D)."""
        return cast("torch.Tensor", self.module.encode_text(tokens, normalize=True))  # type: ignore[operator]

    def caption_tokens(self) -> torch.Tensor:
        """Tokens of the 720 captions, (24, 30, L) int64: context, anchor, token."""
        return self.tokenizer(all_captions()).view(CONTEXTS, ANCHORS, -1)

    @property
    def scale(self) -> torch.Tensor:
        """What cosines are multiplied with before the softmax: exp(logit_scale)."""
        return cast("torch.Tensor", self.module.logit_scale).exp()


def build(card: ClipCard) -> Clip:
    """Makes the model that a card describes, with random weights.

    Raises:
        CardError: open_clip does not know the model, or its configuration is not valid.
    """
    card.check()
    try:
        if isinstance(card.open_clip, str):
            module = open_clip.create_model(
                card.open_clip, force_image_size=card.image_size_px, load_weights=False, pretrained_text=False
            )
            length = None
        else:
            form = json.loads(json.dumps(dict(card.open_clip)))
            form["vision_cfg"]["image_size"] = card.image_size_px
            if form["vision_cfg"].get("timm_model_pretrained") or form["text_cfg"].get("hf_model_name"):
                raise CardError("open_clip: weights or texts from elsewhere are not fetched")
            module = open_clip.CustomTextCLIP(**form)
            length = int(module.context_length)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, AssertionError) as error:
        raise CardError(f"open_clip cannot make the model of the card: {error}") from None
    tokenizer: Tokenizer
    if card.vocabulary is None:
        name = card.open_clip if isinstance(card.open_clip, str) else None
        tokenizer = (
            open_clip.get_tokenizer(name) if name else open_clip.SimpleTokenizer(context_length=length)
        )
    else:
        words = WordTokenizer(card.vocabulary, int(module.context_length))
        if words.size > int(module.vocab_size):
            raise CardError(f"vocabulary has {words.size} tokens, the model {int(module.vocab_size)}")
        tokenizer = words
    return Clip(card, module, tokenizer)


def load(directory: Path, *, verify: bool = True) -> Clip:
    """Loads a CLIP directory.

    Args:
        directory: With card and weights.
        verify: True: the weights must have the hash that the card names.

    Returns:
        The model in float32 on the CPU, in evaluation mode.

    Raises:
        CardError: Something is missing, damaged, or of another shape than the card says.
    """
    directory = Path(directory)
    card = read_card(directory)
    path = directory / card.weights
    try:
        if verify and card.weights_sha256 and sha256_of(path) != card.weights_sha256:
            raise CardError(f"{path} is not the file that its card was written for: another SHA-256")
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CardError(f"{path} cannot be read: {error}") from None
    clip = build(card)
    _fill(clip.module, tensors, path)
    return clip


def _fill(module: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Copies weights into a module; every tensor must be there and fit."""
    if "positional_embedding" in tensors and not hasattr(module, "positional_embedding"):
        tensors = convert_to_custom_text_state_dict(tensors)
    expected = module.state_dict()
    for name, tensor in expected.items():
        found = tensors.get(name)
        if found is None:
            if name.endswith("num_batches_tracked"):
                tensors[name] = tensor
                continue
            raise CardError(f"{path} lacks {name}")
        if found.shape != tensor.shape:
            hint = ""
            if name == "visual.positional_embedding":
                hint = "The weights were trained at another image size than image_size_px in the card."
            raise CardError(
                f"{path}: {name} has shape {tuple(found.shape)}, the model of the card {tuple(tensor.shape)}",
                hint=hint,
            )
    unknown = [name for name in tensors if name not in expected]
    if unknown:
        raise CardError(f"{path} holds {unknown[0]}, which the model of the card does not have")
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    module.eval().requires_grad_(False)


def save(
    directory: Path, card: ClipCard, tensors: dict[str, Any], dtype: torch.dtype = torch.bfloat16
) -> ClipCard:
    """Writes a CLIP directory, weights first.

    Args:
        directory: Made when missing.
        card: Its card; the hash is filled in.
        tensors: State dictionary of the model.
        dtype: Of the stored weights; statistics of batch normalisation stay float32.

    Returns:
        The card as written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stored = {
        name: (tensor if "running_" in name or name == "logit_scale" else tensor.to(dtype)).contiguous()
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    staging = directory / f".{card.weights}"
    staging.write_bytes(to_bytes(stored))
    staging.replace(directory / card.weights)
    card = replace(card, weights_sha256=sha256_of(directory / card.weights))
    write_card(directory, card)
    return card
