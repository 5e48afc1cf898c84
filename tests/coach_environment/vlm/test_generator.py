import json
import shutil

import pytest

from feedback_service.coaches.parse import VlmControl, parse_action
from feedback_service.models.vlm.generator import VlmGenerator
from feedback_service.models.vlm.loading import CheckpointError
from tests.coach_environment.vlm.checkpoints import FAMILIES

PROMPTS = ["Go", "Go on and on, and what now?", "Stop. Why?"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_answers_a_batch_as_it_answers_each_row(family, checkpoint, png):
    generator = VlmGenerator(checkpoint(family), dtype="float32", max_new_tokens=6)
    assert generator.family == family and generator.parameters > 50_000
    pictures = [png(seed) for seed in range(3)]
    texts, errors = generator.answer(pictures, PROMPTS)
    assert errors == ["", "", ""]
    alone = [generator.answer([picture], [prompt])[0][0] for picture, prompt in zip(pictures, PROMPTS)]
    assert texts == alone
    assert len(set(texts)) > 1 and not any(prompt in text for prompt, text in zip(PROMPTS, texts))


@pytest.mark.parametrize("family", FAMILIES)
def test_constrained_decoding_makes_even_random_weights_answer_in_the_format(family, checkpoint, png):
    generator = VlmGenerator(checkpoint(family), dtype="float32", max_new_tokens=64, constrained=True)
    texts, errors = generator.answer([png(1), png(2)], PROMPTS[:2])
    assert errors == ["", ""]
    assert all(isinstance(parse_action(text), VlmControl) for text in texts)
    assert all(list(json.loads(text)) == ["throttle", "steer", "brake"] for text in texts)


def test_a_row_that_cannot_be_read_leaves_the_others_alone(checkpoint, png):
    generator = VlmGenerator(checkpoint("llava"), dtype="float32", max_new_tokens=6)
    good = png(4)
    pictures = [b"", good, b"no picture", good[: len(good) // 2], good]
    texts, errors = generator.answer(pictures, ["Go"] * 5)
    assert texts[1] == texts[4] != "" and errors[1] == errors[4] == ""
    assert errors[0] == "there is no picture" and errors[2] == "not a PNG file"
    assert "cannot be read" in errors[3] and texts[0] == texts[2] == texts[3] == ""


def test_a_prompt_that_does_not_suit_the_model_fails_alone(checkpoint, png):
    generator = VlmGenerator(checkpoint("llava"), dtype="float32", max_new_tokens=6)
    texts, errors = generator.answer([png(1), png(2)], ["a second <image> here", "Go"])
    assert errors[0] and not texts[0]
    assert texts[1] and not errors[1]


def test_pictures_of_any_size_and_no_rows_are_fine(checkpoint, png):
    generator = VlmGenerator(checkpoint("llava"), max_new_tokens=4)
    assert generator.answer([png(1, 31), png(2, 300)], ["Go", "Go"])[1] == ["", ""]
    assert generator.answer([], []) == ([], [])


def test_answers_are_capped(checkpoint, png):
    generator = VlmGenerator(checkpoint("internvl"), dtype="float32", max_new_tokens=2)
    short = generator.answer([png(1)], ["Go"])[0][0]
    generator = VlmGenerator(checkpoint("internvl"), dtype="float32", max_new_tokens=9)
    assert generator.answer([png(1)], ["Go"])[0][0].startswith(short)


@pytest.fixture
def copy(checkpoint, tmp_path):
    return shutil.copytree(checkpoint("llava"), tmp_path / "copy")


def _edit(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_visual_rwkv_is_refused_by_name(copy):
    _edit(copy / "config.json", model_type="rwkv")
    with pytest.raises(CheckpointError, match="RWKV"):
        VlmGenerator(copy)


def test_a_checkpoint_with_code_of_its_own_is_refused(copy):
    _edit(copy / "config.json", model_type="mine", auto_map={"AutoConfig": "code.Config"})
    (copy / "code.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(CheckpointError, match="copy"):
        VlmGenerator(copy)


def test_a_checkpoint_that_lacks_weights_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="lacks"):
        VlmGenerator(copy)


def test_pickled_weights_are_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        VlmGenerator(copy)


def test_a_folder_that_is_no_checkpoint_and_an_unknown_dtype_are_refused(copy, tmp_path):
    with pytest.raises(CheckpointError):
        VlmGenerator(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="int3"):
        VlmGenerator(copy, dtype="int3")
