"""What a model behind a coach must take and give (docs/coach_models.md), and whether one does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codriver.coaching.vocabulary import ANCHORS


@dataclass(frozen=True)
class TensorShape:
    """A tensor of the contract.

    Attributes:
        datatype: As Triton calls it.
        shape: Of one row.
    """

    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.datatype} [B, {', '.join(map(str, self.shape))}]"


USUAL_MODELS: Mapping[str, str] = {"vlm": "vlm_action", "clip": "clip_score"}
"""Triton's name of the model behind coaches of a kind, where nothing else is said."""
_TEXT = TensorShape("BYTES", (1,))
INPUTS: Mapping[str, Mapping[str, TensorShape]] = {
    "vlm": {"picture": _TEXT, "prompt": _TEXT},
    "clip": {"picture": _TEXT, "context": TensorShape("INT32", (1,))},
}
OUTPUTS: Mapping[str, Mapping[str, TensorShape]] = {
    "vlm": {"text": _TEXT, "error": _TEXT},
    "clip": {"probabilities": TensorShape("FP32", (ANCHORS,)), "error": _TEXT},
}


def likely_kind(inputs: Iterable[str], outputs: Iterable[str]) -> str:
    """The kind whose tensors a model has most of, by their names; empty: it has none of any."""
    names = {*inputs, *(f"> {name}" for name in outputs)}

    def common(kind: str) -> int:
        return len(names & {*INPUTS[kind], *(f"> {name}" for name in OUTPUTS[kind])})

    best = max(INPUTS, key=common)
    return best if common(best) else ""


def misfits(kind: str, metadata: Any, optional_inputs: Sequence[str] = ()) -> list[str]:
    """Why a model cannot stand behind a coach of a kind.

    Args:
        kind: ``vlm`` or ``clip``.
        metadata: Its ``ModelMetadataResponse``.
        optional_inputs: Inputs that it does without.

    Returns:
        One line for each fault; empty: it fits.
    """
    found = _wrong("input", INPUTS[kind], metadata.inputs)
    found += _wrong("output", OUTPUTS[kind], metadata.outputs)
    for tensor in metadata.inputs:
        if tensor.name not in INPUTS[kind] and tensor.name not in optional_inputs:
            found.append(f"wants an input {tensor.name!r}, which coaches do not give")
    return found


def _wrong(what: str, wanted: Mapping[str, TensorShape], tensors: Any) -> list[str]:
    have = {tensor.name: tensor for tensor in tensors}
    found = []
    for name, want in wanted.items():
        if name not in have:
            found.append(f"has no {what} {name!r}")
            continue
        shape, datatype = [int(extent) for extent in have[name].shape], have[name].datatype
        if datatype != want.datatype or not _fits(shape, want.shape):
            text = ", ".join("B" if extent < 0 else str(extent) for extent in shape)
            found.append(f"{what} {name!r} is {datatype} [{text}], not {want}")
    return found


def _fits(shape: Sequence[int], row: Sequence[int]) -> bool:
    """Whether a shape is a batch of rows; -1 stands for any extent."""
    return (
        len(shape) == len(row) + 1
        and shape[0] == -1
        and all(extent in (-1, wanted) for extent, wanted in zip(shape[1:], row))
    )
