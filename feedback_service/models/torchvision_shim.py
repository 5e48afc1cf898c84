"""Makes ``import torchvision`` work where only its Python files can: beside a torch that its binary does not match.

The wheels of torchvision are built for one torch each, and there is none for every CPU build of torch. A wheel for
another build installs, but its binary does not load, and its import then fails at the first operator that the binary
would have declared. ``open_clip``, ``timm`` and several processors of ``transformers`` import torchvision for its
transforms alone, which are Python on top of torch and pillow. Declaring the operators' names is all they need.

The declared operators cannot be called: torchvision says that its operators are not there.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_OPERATORS = (
    "nms",
    "qnms",
    "roi_align",
    "qroi_align",
    "roi_pool",
    "ps_roi_align",
    "ps_roi_pool",
    "deform_conv2d",
    "box_iou_rotated",
    "_roi_align_backward",
    "_roi_pool_backward",
    "_ps_roi_align_backward",
    "_ps_roi_pool_backward",
    "_deform_conv2d_backward",
)
"""What the Python files of torchvision 0.2x refer to while they are imported."""
_SCHEMA = "(Tensor argument) -> Tensor"
"""Any schema does: nothing is behind these names."""
_kept: list[torch.library.Library] = []
"""A declaration ends with its library object."""


def install() -> None:
    """Declares the operators of torchvision; call it before anything imports torchvision.

    Does nothing where torchvision is missing, imported already, or comes with a binary that loads.
    """
    if _kept or "torchvision" in sys.modules:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _loads(Path(spec.origin).parent):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SCHEMA)  # type: ignore[no-untyped-call]
    _kept.append(library)


def _loads(package: Path) -> bool:
    """Whether a binary of torchvision fits this torch."""
    for binary in sorted(package.glob("_C.*")):
        try:
            torch.ops.load_library(binary)  # type: ignore[no-untyped-call]
        except (OSError, ImportError):
            continue
        return True
    return False
