"""Small directories that look like models from the outside. Nothing in them could answer."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

VLM_CONFIG = {
    "model_type": "internvl",
    "architectures": ["InternVLForConditionalGeneration"],
    "vision_config": {},
}


def write_vlm(directory, config=VLM_CONFIG, shards=1, fill=0.0):
    """A checkpoint of 2 x 12 parameters."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "processor_config.json").write_text("{}")
    tensors = {
        "vision.weight": np.full((3, 4), fill, np.float32),
        "text.weight": np.full((3, 4), fill, np.float16),
    }
    if shards == 1:
        save_file(tensors, directory / "model.safetensors")
        return directory
    weight_map = {}
    for number, (name, tensor) in enumerate(tensors.items(), 1):
        weight_map[name] = f"model-{number:05}-of-{len(tensors):05}.safetensors"
        save_file({name: tensor}, directory / weight_map[name])
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return directory


def write_clip_weights(path, fill=0.0):
    save_file(
        {"visual.proj": np.full((2, 5), fill, np.float32), "logit_scale": np.ones((), np.float32)}, path
    )
    return path


def write_clip(directory, fill=0.0, **card):
    """A CLIP of 11 parameters."""
    directory.mkdir(parents=True)
    write_clip_weights(directory / "weights.safetensors", fill)
    whole = {"format": "codriver-clip/1", "open_clip": "ViT-B-16", "image_size_px": 192, **card}
    (directory / "card.json").write_text(json.dumps(whole))
    return directory


@pytest.fixture
def shipped(tmp_path):
    """A folder of the two shipped models."""
    write_vlm(tmp_path / "shipped" / "vlm-small")
    write_clip(tmp_path / "shipped" / "clip-small")
    return tmp_path / "shipped"
