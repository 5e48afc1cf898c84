import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from codriver.errors import CodriverError
from feedback_service.finetune.clip.data import load_pictures
from feedback_service.models.clip.card import write_card
from feedback_service.models.clip.network import load
from feedback_service.models.clip.pictures import decode, normalise
from feedback_service.models.clip.scorer import ClipScorer


@pytest.fixture(scope="module")
def scorer(run):
    return ClipScorer(run / "model", dtype="fp32")


@pytest.fixture(scope="module")
def pictures(other_drives):
    return load_pictures([other_drives], every=10)


def test_probabilities_are_the_softmax_of_scaled_cosines(run, scorer, pictures):
    probabilities, errors = scorer.score(pictures.png, pictures.context)
    assert errors == [""] * len(pictures) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    clip = load(run / "model")
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack([decode(png, 32, "box") for png in pictures.png]))
        image = clip.image_features(normalise(pixels, clip.card, torch.float32))
        text = clip.text_features(clip.caption_tokens()[pictures.context[0]])
        expected = (clip.scale * image[:1] @ text.T).softmax(dim=-1)
    np.testing.assert_allclose(probabilities[:1], expected.numpy(), rtol=1e-3, atol=1e-6)


def test_captions_go_through_the_text_tower_once_a_load(run, pictures):
    texts = []

    def count(module, arguments, output):
        if type(module).__name__ == "TextTransformer":
            texts.append(len(arguments[0]))

    handle = register_module_forward_hook(count)
    try:
        scorer = ClipScorer(run / "model", dtype="fp32")
        assert sum(texts) == 720
        scorer.score(pictures.png, pictures.context)
        scorer.score(pictures.png[:1], pictures.context[:1])
        assert sum(texts) == 720
    finally:
        handle.remove()


def test_a_row_that_cannot_be_read_costs_the_others_nothing(scorer, pictures):
    good = pictures.png[0]
    rows = [good, b"", b"no picture", good[:200], good, good]
    contexts = np.array([3, 3, 3, 3, 24, 3])
    probabilities, errors = scorer.score(rows, contexts)
    assert [bool(error) for error in errors] == [False, True, True, True, True, False]
    assert "PNG" in errors[2] and "24" in errors[4]
    assert (probabilities[1:5] == 0).all()
    alone, _ = scorer.score([good], np.array([3]))
    np.testing.assert_allclose(probabilities[[0, 5]], np.repeat(alone, 2, axis=0), rtol=1e-5)


def test_nothing_to_score(scorer):
    probabilities, errors = scorer.score([], np.zeros(0, np.int64))
    assert probabilities.shape == (0, 30) and errors == []


def test_both_precisions_agree_and_the_faster_one_is_taken(run, scorer, pictures):
    fast = ClipScorer(run / "model", dtype="bf16")
    assert fast.parameters["dtype"] == "bf16" and scorer.parameters["dtype"] == "fp32"
    one, other = (s.score(pictures.png, pictures.context)[0] for s in (scorer, fast))
    assert np.abs(one - other).max() < 0.1
    assert ClipScorer(run / "model").parameters["dtype"] in ("bf16", "fp32")
    assert fast.name == "drawn" and len(fast.version) == 12


def test_pictures_of_another_size_are_resized_to_the_cards(pictures):
    assert decode(pictures.png[0], 64, "bicubic").shape == (3, 64, 64)
    whole = decode(pictures.png[0], 192, "box").astype(np.float64)
    halved = decode(pictures.png[0], 96, "box")
    np.testing.assert_allclose(halved, whole.reshape(3, 96, 2, 96, 2).mean(axis=(2, 4)), atol=1)


@pytest.mark.parametrize(
    ("arguments", "words"), [({"dtype": "int3"}, "int3"), ({"device": "abacus"}, "abacus")]
)
def test_arguments_that_are_not_valid(run, arguments, words):
    with pytest.raises(CodriverError, match=words):
        ClipScorer(run / "model", **arguments)


def test_an_open_clip_name_is_enough_of_a_configuration(tmp_path):
    """A model of open_clip's own list, its own tokenizer and its own preprocessing."""
    from feedback_service.models.clip.card import ClipCard
    from feedback_service.models.clip.network import build, save

    card = ClipCard(open_clip="ViT-S-32-alt", image_size_px=64)
    clip = build(card)
    save(tmp_path / "model", card, clip.module.state_dict())
    loaded = load(tmp_path / "model")
    assert loaded.card.vocabulary is None and loaded.caption_tokens().shape == (24, 30, 77)
    assert loaded.module.visual.image_size in (64, (64, 64))


def test_weights_of_another_image_size_are_refused_not_interpolated(tmp_path):
    from feedback_service.models.clip.card import ClipCard
    from feedback_service.models.clip.network import build, save

    vision = {"layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1}
    card = ClipCard(open_clip={"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, image_size_px=64)
    written = save(tmp_path / "model", card, build(card).module.state_dict())
    assert load(tmp_path / "model").parameters > 0
    write_card(tmp_path / "model", replace(written, image_size_px=96))
    with pytest.raises(CodriverError, match="image_size_px"):
        load(tmp_path / "model")


def test_damaged_weights_are_named(run, tmp_path):
    shutil.copytree(run / "model", tmp_path / "model")
    weights = tmp_path / "model" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CodriverError, match="SHA-256"):
        load(tmp_path / "model")
    weights.unlink()
    with pytest.raises(CodriverError, match="cannot be read"):
        load(tmp_path / "model")
