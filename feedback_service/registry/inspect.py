"""What is this directory? Answered from its files alone, without loading anything of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codriver.v1 import feedback_pb2
from feedback_service.registry.clip_directory import inspect_clip
from feedback_service.registry.files import served_files, version_of
from feedback_service.registry.refusal import NotAModelError
from feedback_service.registry.vlm_directory import inspect_vlm

VLM = feedback_pb2.FEEDBACK_KIND_VLM_ACTION
CLIP = feedback_pb2.FEEDBACK_KIND_CLIP_REWARD
KINDS: Mapping[str, feedback_pb2.FeedbackKind] = {"clip": CLIP, "vlm": VLM}
"""Kinds of models by the word that the commands use."""
KIND_WORDS: Mapping[int, str] = {kind: word for word, kind in KINDS.items()}


@dataclass(frozen=True)
class Inspected:
    """What a directory holds.

    Attributes:
        kind: What the model can answer.
        family: ``open_clip``, or the ``model_type`` of a vision-language model, as ``internvl``.
        version: First 12 hex digits of a SHA-256 over its files.
        parameters: Numbers in its weights.
        files: Size in bytes and time of change in nanoseconds of its files, by name.
    """

    kind: feedback_pb2.FeedbackKind
    family: str
    version: str
    parameters: int
    files: Mapping[str, tuple[int, int]]

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(size for size, _ in self.files.values())


def inspect(kind: int, directory: Path) -> Inspected:
    """Checks that a directory holds a whole model of a kind.

    Every file is read once, for the version.

    Args:
        kind: What the model is to answer: VLM_ACTION or CLIP_REWARD.
        directory: The model's directory.

    Raises:
        NotAModelError: It does not; the message names the file at fault and the way out.
    """
    if kind not in KIND_WORDS:
        raise NotAModelError(f"no model answers kind {kind}; there are: {', '.join(KINDS)}", field="kind")
    if not directory.exists():
        raise NotAModelError(f"there is no directory {directory}")
    if not directory.is_dir():
        weights = kind == CLIP and directory.suffix == ".safetensors"
        raise NotAModelError(
            f"{directory} is a file, not a model's directory",
            hint="Say which open_clip model it is, as --open-clip ViT-B-16." if weights else "",
        )
    try:
        files = served_files(directory)
        family, parameters = (inspect_vlm if kind == VLM else inspect_clip)(directory)
        version = version_of(directory, files)
        changed = served_files(directory) != files
    except OSError as error:
        raise NotAModelError(f"{directory} cannot be read: {error.strerror or error}") from None
    if changed:
        raise NotAModelError(f"{directory} is being written", hint="Add it when it is whole.")
    chosen = VLM if kind == VLM else CLIP
    return Inspected(chosen, family, version, parameters, files)
