"""The card of a CLIP directory, format ``codriver-clip/1``: how its weights are to be used.

::

    card.json             format, open_clip, image_size_px, weights, weights_sha256, ...
    weights.safetensors   the tensors of open_clip's model, float32 or bfloat16

``open_clip`` is the name of a model that open_clip knows (``"ViT-B-16"``) or a configuration of one as an object
(``embed_dim``, ``vision_cfg``, ``text_cfg``). A card with a ``vocabulary`` has a tokenizer of its own, see
:mod:`feedback_service.models.clip.words`; without one it is open_clip's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codriver.errors import InvalidArgumentError

FORMAT = "codriver-clip/1"
CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Colour mean and standard deviation of OpenAI's CLIP, which open_clip's models keep unless they say otherwise."""
INTERPOLATIONS = ("bicubic", "bilinear", "box")
IMAGE_SIZES_PX = range(32, 1025)
_MAX_CARD_BYTES = 4 * 1024 * 1024


class CardError(InvalidArgumentError):
    """A CLIP directory cannot be used; the message names the file at fault."""

    default_reason = "NOT_A_MODEL"


@dataclass(frozen=True)
class ClipCard:
    """What is known of a CLIP beside its weights.

    Attributes:
        open_clip: Name of an open_clip model, or its configuration.
        image_size_px: Height and width of the picture as the model takes it; a picture of another size is resized.
        interpolation: How: one of ``INTERPOLATIONS`` (``box`` averages; right for shrinking).
        mean: Per colour, subtracted from values of 0 to 1.
        std: Per colour, what the difference is divided by.
        vocabulary: Words of the model's own tokenizer, by token; None: open_clip's tokenizer.
        weights: Name of the weights' file.
        weights_sha256: Its hash; empty: not known.
        name: For people and for the feedback's provenance.
        version: Likewise.
        facts: Everything else in the card: training, metrics, licence.
    """

    open_clip: str | Mapping[str, Any]
    image_size_px: int
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    vocabulary: tuple[str, ...] | None = None
    weights: str = WEIGHTS_NAME
    weights_sha256: str = ""
    name: str = "clip"
    version: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Checks what the fields can be.

        Raises:
            CardError: A field is not valid; its name is in the message.
        """
        if isinstance(self.open_clip, str):
            if not self.open_clip or "/" in self.open_clip or ":" in self.open_clip:
                raise CardError(
                    f"open_clip is {self.open_clip!r}, not the name of an architecture such as ViT-B-16"
                )
        elif not isinstance(self.open_clip, Mapping) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(
            self.open_clip
        ):
            raise CardError("open_clip is neither a model's name nor embed_dim, vision_cfg and text_cfg")
        size = self.image_size_px
        if isinstance(size, bool) or not isinstance(size, int) or size not in IMAGE_SIZES_PX:
            raise CardError(
                f"image_size_px is {size!r}; expected {IMAGE_SIZES_PX[0]} to {IMAGE_SIZES_PX[-1]}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise CardError(
                f"interpolation is {self.interpolation!r}; expected one of {', '.join(INTERPOLATIONS)}"
            )
        for name, three in (("mean", self.mean), ("std", self.std)):
            good = len(three) == 3 and all(
                isinstance(value, (int, float)) and value == value for value in three
            )
            if not good or (name == "std" and min(three) <= 0):
                raise CardError(
                    f"{name} is {list(three)}; expected three numbers{', all above 0' * (name == 'std')}"
                )
        if self.vocabulary is not None and (
            len(set(self.vocabulary)) != len(self.vocabulary)
            or not all(isinstance(word, str) and word for word in self.vocabulary)
        ):
            raise CardError("vocabulary holds an empty word or one word twice")
        if not isinstance(self.weights, str) or Path(self.weights).name != self.weights:
            raise CardError(f"weights is {self.weights!r}, not the name of a file beside the card")

    def as_json(self) -> dict[str, Any]:
        """The card as it is written."""
        form: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "open_clip": self.open_clip if isinstance(self.open_clip, str) else dict(self.open_clip),
            "image_size_px": self.image_size_px,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
        }
        if self.vocabulary is not None:
            form["vocabulary"] = list(self.vocabulary)
        return {**form, **self.facts}


def read_card(directory: Path) -> ClipCard:
    """Reads the card of a CLIP directory.

    Raises:
        CardError: It is missing or not valid; the message names the field.
    """
    path = Path(directory) / CARD_NAME
    try:
        if path.stat().st_size > _MAX_CARD_BYTES:
            raise CardError(f"{path} has more than {_MAX_CARD_BYTES:,} bytes")
        form = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(f"there is no {CARD_NAME} in {directory}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CardError(f"{path} cannot be read: {error}") from None
    if not isinstance(form, dict) or form.get("format") != FORMAT:
        found = form.get("format") if isinstance(form, dict) else None
        raise CardError(f"{path} has the format {found!r}; this release reads {FORMAT!r}")
    known = set(ClipCard.__dataclass_fields__) - {"facts"}
    values = {name: value for name, value in form.items() if name in known}
    facts = {name: value for name, value in form.items() if name not in known and name != "format"}
    try:
        for name in ("mean", "std", "vocabulary"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        values.setdefault("name", Path(directory).resolve().name)
        card = ClipCard(**values, facts=facts)
        card.check()
    except CardError as error:
        raise CardError(f"{path}: {error.message}") from None
    except TypeError as error:
        raise CardError(f"{path} is damaged: {error}") from None
    return card


def write_card(directory: Path, card: ClipCard) -> None:
    """Writes the card of a CLIP directory."""
    card.check()
    text = json.dumps(card.as_json(), indent=1, allow_nan=False)
    (Path(directory) / CARD_NAME).write_text(text + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
