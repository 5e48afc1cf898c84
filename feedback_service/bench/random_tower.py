"""Writes a CLIP directory in the shape of ViT-B/16 with random weights (in the models' environment).

``python -m feedback_service.bench.random_tower DIRECTORY``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from feedback_service.models.clip.card import ClipCard
from feedback_service.models.clip.network import build, save


def main(directory: Path) -> None:
    """Prints how many parameters it has."""
    torch.manual_seed(0)
    clip = build(ClipCard("ViT-B-16", image_size_px=192, name=directory.name, version="random"))
    save(directory, clip.card, clip.module.state_dict())
    print(json.dumps({"parameters": clip.parameters}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
