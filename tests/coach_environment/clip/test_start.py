from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from codriver.errors import CodriverError
from feedback_service.finetune.clip.options import from_arguments, parser
from feedback_service.finetune.clip.start import fill, small_card, start
from feedback_service.models.clip.card import ClipCard
from feedback_service.models.clip.network import build

_TINY = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
}


@pytest.fixture
def published(tmp_path):
    """Weights of a tiny vision transformer at 96 pixels."""
    clip = build(ClipCard(open_clip=_TINY, image_size_px=96))
    save_file(clip.module.state_dict(), tmp_path / "weights.safetensors")
    return clip, tmp_path / "weights.safetensors"


def test_a_published_model_starts_at_another_image_size(published):
    clip, path = published
    smaller = build(replace(clip.card, image_size_px=64))
    fill(smaller, path)
    mine, theirs = smaller.module.state_dict(), clip.module.state_dict()
    assert mine["visual.positional_embedding"].shape == (17, 64)
    assert theirs["visual.positional_embedding"].shape == (37, 64)
    assert torch.equal(mine["visual.conv1.weight"], theirs["visual.conv1.weight"])


def test_weights_of_another_model_are_refused(published):
    with pytest.raises(CodriverError, match="not weights of"):
        fill(build(small_card("small", 32)), published[1])


def test_the_seed_alone_decides_how_the_small_model_starts():
    arguments = ["--data", "x", "--out", "y", "--image-size", "32", "--seed"]
    first, again, other = (
        start(from_arguments(parser().parse_args([*arguments, seed]))).module.state_dict() for seed in "112"
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["visual.conv1.weight"], other["visual.conv1.weight"])


def test_defaults_are_the_papers_for_a_published_model_and_else_the_small_ones():
    common = ["--data", "x", "--out", "y"]
    paper = from_arguments(
        parser().parse_args([*common, "--model", "ViT-B-16", "--weights", "w.safetensors"])
    )
    assert (paper.loss, paper.batch, paper.lr, paper.weight_decay) == ("contrastive", 1024, 1e-5, 0.2)
    assert (paper.warmup, paper.epochs, paper.image_size, paper.mirror) == (2000, 10.0, 192, 0.0)
    small = from_arguments(parser().parse_args(common))
    assert (small.loss, small.batch, small.image_size) == ("anchors", 64, 96)
    assert from_arguments(parser().parse_args([*common, "--loss", "contrastive"])).loss == "contrastive"
