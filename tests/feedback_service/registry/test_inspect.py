"""What a directory is, and every way in which it is refused."""

import json
import shutil
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from codriver.v1 import feedback_pb2
from feedback_service.registry.clip_directory import write_clip_directory
from feedback_service.registry.inspect import CLIP, VLM, inspect
from feedback_service.registry.refusal import NotAModelError

from .conftest import VLM_CONFIG, write_clip, write_clip_weights, write_vlm


def test_checkpoint_of_one_file_and_of_shards(tmp_path):
    one = inspect(VLM, write_vlm(tmp_path / "one"))
    assert (one.kind, one.family, one.parameters) == (VLM, "internvl", 24)
    assert len(one.version) == 12 and int(one.version, 16) >= 0
    shards = inspect(VLM, write_vlm(tmp_path / "shards", shards=2))
    assert shards.parameters == 24 and shards.version != one.version
    assert shards.size_bytes > one.size_bytes > 0


def test_version_is_the_contents_and_not_the_place(tmp_path):
    first = inspect(VLM, write_vlm(tmp_path / "a")).version
    assert inspect(VLM, write_vlm(tmp_path / "b")).version == first
    (tmp_path / "b" / "README.md").write_text("words")
    assert inspect(VLM, tmp_path / "b").version == first
    assert inspect(VLM, write_vlm(tmp_path / "c", fill=1.0)).version != first


@pytest.mark.parametrize("family", ["idefics3", "llava", "llava_next", "qwen2_5_vl", "qwen3_vl", "smolvlm"])
def test_families_by_model_type(tmp_path, family):
    assert inspect(VLM, write_vlm(tmp_path / "m", {**VLM_CONFIG, "model_type": family})).family == family


def test_any_other_type_that_sees_is_left_to_the_load(tmp_path):
    new = {**VLM_CONFIG, "model_type": "brand_new"}
    assert inspect(VLM, write_vlm(tmp_path / "m", new)).family == "brand_new"
    chameleon = {"model_type": "chameleon", "vq_config": {}}
    assert inspect(VLM, write_vlm(tmp_path / "n", chameleon)).family == "chameleon"


def refused(kind, directory):
    with pytest.raises(NotAModelError) as error:
        inspect(kind, directory)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "llama", "hidden_size": 4}, "reads text only"),
        ({"hidden_size": 4}, "names no model_type"),
        ({"model_type": "visual_rwkv7", "vision_config": {}}, "Visual RWKV is not a model that transformers"),
        (
            {"model_type": "x", "architectures": ["VisualRWKV"]},
            "Visual RWKV is not a model that transformers",
        ),
        (
            {"model_type": "internvl_chat", "auto_map": {"AutoModel": "x.Y"}, "vision_config": {}},
            "ends in -hf",
        ),
        ({"model_type": "mine", "auto_map": {}, "vision_config": {}}, "never run"),
    ],
)
def test_types_that_are_refused(tmp_path, config, words):
    assert words in refused(VLM, write_vlm(tmp_path / "m", config))


def test_places_that_are_no_directories(tmp_path):
    assert "there is no directory" in refused(VLM, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(VLM, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "there is no config.json" in refused(VLM, tmp_path / "empty")
    assert "--open-clip" in refused(CLIP, tmp_path / "empty")
    assert "no model answers" in refused(feedback_pb2.FEEDBACK_KIND_TEXT_ANNOTATION, tmp_path / "empty")


def test_adapters_and_rwkv_files(tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text("{}")
    assert "adapter (LoRA)" in refused(VLM, tmp_path / "lora")
    (tmp_path / "rwkv").mkdir()
    (tmp_path / "rwkv" / "VisualRWKV-v7-0.1B.pth").write_bytes(b"x")
    assert "Visual RWKV" in refused(VLM, tmp_path / "rwkv")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '"x"', "\udcff".encode("utf-8", "surrogateescape")]
)
def test_config_that_is_no_json_object(tmp_path, text):
    directory = write_vlm(tmp_path / "m")
    (directory / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "config.json" in refused(VLM, directory)


def test_git_lfs_pointers(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    directory = write_vlm(tmp_path / "m")
    (directory / "model.safetensors").write_text(pointer)
    assert "git lfs pull" in refused(VLM, directory)
    (directory / "config.json").write_text(pointer)
    assert "git lfs pull" in refused(VLM, directory)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "weights.pt"])
def test_pickles_are_refused_by_name(tmp_path, name):
    directory = write_vlm(tmp_path / "m")
    (directory / "model.safetensors").rename(directory / name)
    text = refused(VLM, directory)
    assert name in text and "Convert it to safetensors" in text


def test_what_trainers_leave_beside_the_weights_is_no_matter(tmp_path):
    directory = write_vlm(tmp_path / "m")
    (directory / "training_args.bin").write_bytes(b"x")
    inspect(VLM, directory)
    (directory / "model.safetensors").unlink()
    assert "no model.safetensors" in refused(VLM, directory)


def test_weights_cut_short(tmp_path):
    directory = write_vlm(tmp_path / "m")
    whole = (directory / "model.safetensors").read_bytes()
    for size, words in [
        (0, "not a safetensors"),
        (7, "not a"),
        (60, "inside its header"),
        (-1, "is cut short"),
    ]:
        (directory / "model.safetensors").write_bytes(whole[:size])
        assert words in refused(VLM, directory)
    (directory / "model.safetensors").write_bytes(whole + b"x")
    assert "longer than its header" in refused(VLM, directory)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b"{not json",
        b'{"w": 5}',
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        b'{"w": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_headers_that_lie(tmp_path, header):
    directory = write_vlm(tmp_path / "m")
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
    assert "model.safetensors" in refused(VLM, directory)


def test_shards_that_are_not_all_there(tmp_path):
    directory = write_vlm(tmp_path / "m", shards=2)
    second = directory / "model-00002-of-00002.safetensors"
    whole = second.read_bytes()
    second.write_bytes(whole[:-4])
    assert "cut short" in refused(VLM, directory)
    shutil.copyfile(directory / "model-00001-of-00002.safetensors", second)
    assert "does not hold 'text.weight'" in refused(VLM, directory)
    second.unlink()
    assert "model-00002-of-00002.safetensors is missing" in refused(VLM, directory)
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    assert "outside of the directory" in refused(VLM, directory)
    index.write_text("{}")
    assert "no weight_map" in refused(VLM, directory)
    index.unlink()
    assert "not complete" in refused(VLM, directory)


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
def test_processor_is_part_of_it(tmp_path, name):
    directory = write_vlm(tmp_path / "m")
    (directory / name).unlink()
    assert "processor.save_pretrained" in refused(VLM, directory)


def test_clip_directory(tmp_path):
    found = inspect(CLIP, write_clip(tmp_path / "clip"))
    assert (found.kind, found.family, found.parameters) == (CLIP, "open_clip", 11)
    config = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}
    inspect(CLIP, write_clip(tmp_path / "own", open_clip=config))


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"format": "codriver-clip/2"}, "codriver-clip/1"),
        ({"open_clip": None}, "neither a model's name nor"),
        ({"open_clip": {"embed_dim": 8}}, "no vision_cfg"),
        ({"open_clip": "hf-hub:someone/something"}, "fetched from elsewhere"),
        ({"image_size_px": 0}, "image size"),
        ({"image_size_px": True}, "image size"),
        ({"image_size_px": "192"}, "image size"),
        ({"weights": "../weights.safetensors"}, "not the name of a file"),
        ({"weights": "other.safetensors"}, "cannot be read"),
        ({"weights_sha256": "0" * 64}, "another SHA-256"),
    ],
)
def test_clip_cards_that_are_refused(tmp_path, card, words):
    assert words in refused(CLIP, write_clip(tmp_path / "clip", **card))


def test_clip_of_an_open_clip_model_and_its_weights(tmp_path):
    weights = write_clip_weights(tmp_path / "w.safetensors")
    write_clip_directory(tmp_path / "made" / "clip", weights, "ViT-B-16", 192)
    assert inspect(CLIP, tmp_path / "made" / "clip").parameters == 11
    assert (tmp_path / "made" / "clip" / "weights.safetensors").stat().st_ino == weights.stat().st_ino
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["clip"]


@pytest.mark.parametrize(
    ("tower", "size_px"),
    [
        ({"visual.conv1.weight": (8, 3, 16, 16), "visual.positional_embedding": (145, 8)}, 192),
        ({"visual.conv1.weight": (8, 3, 3, 3), "visual.attnpool.positional_embedding": (10, 8)}, 96),
        ({"visual.trunk.pos_embed": (1, 196, 8)}, None),
    ],
)
def test_image_size_is_the_one_of_the_training(tmp_path, tower, size_px):
    tensors = {name: np.zeros(shape, np.float32) for name, shape in tower.items()}
    save_file({**tensors, "logit_scale": np.ones((), np.float32)}, tmp_path / "w.safetensors")
    write_clip_directory(tmp_path / "told", tmp_path / "w.safetensors", "X", name="mine")
    card = json.loads((tmp_path / "told" / "card.json").read_text())
    assert (card["image_size_px"], card["name"]) == (size_px or 224, "mine")
    if size_px is not None:
        with pytest.raises(
            NotAModelError, match=f"pictures of {size_px} px, not 224. Say --image-size {size_px}"
        ):
            write_clip_directory(tmp_path / "other", tmp_path / "w.safetensors", "X", 224)
        (tmp_path / "told" / "card.json").write_text(json.dumps({**card, "image_size_px": 224}))
        assert "was trained on pictures" in refused(CLIP, tmp_path / "told")


def test_weights_that_are_no_open_clip_model(tmp_path):
    save_file({"vision_model.x": np.zeros(1)}, tmp_path / "hf.safetensors")
    save_file({"other": np.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "w.pt").write_bytes(b"x")
    for name, words in [
        ("hf.safetensors", "a CLIP of transformers"),
        ("other.safetensors", "not an open_clip model"),
        ("w.pt", "is a pickle"),
        ("none.safetensors", "cannot be read"),
    ]:
        with pytest.raises(NotAModelError, match=words):
            write_clip_directory(tmp_path / "made", tmp_path / name, "ViT-B-16", 192)
    assert not (tmp_path / "made").exists()
    with pytest.raises(NotAModelError, match="image size"):
        write_clip_directory(tmp_path / "made", tmp_path / "hf.safetensors", "ViT-B-16", 5000)
