"""Folders of models: written whole, replaced whole, and such as Triton reads them."""

from __future__ import annotations

import asyncio
import subprocess

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from codriver.codecs import png
from codriver.v1 import feedback_pb2
from feedback_service.triton.client import TritonClient
from feedback_service.triton.embedded import EmbeddedTriton
from feedback_service.triton.repository import TEMPLATES, ModelOptions, install_model, remove_model
from tests.feedback_service.triton.embedded import real_environment

VLM = feedback_pb2.FEEDBACK_KIND_VLM_ACTION
CLIP = feedback_pb2.FEEDBACK_KIND_CLIP_REWARD
SHIPPED = TEMPLATES.parent / "shipped"


def config(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_a_model_is_written_with_its_options(tmp_path):
    directory = tmp_path / 'with "quotes", \\ and ü'
    options = ModelOptions(threads=2, device="cuda:0", dtype="bfloat16", max_new_tokens=48, constrained=True)
    install_model(tmp_path / "r", "vlm-a.1", VLM, directory, options)
    written = config(tmp_path / "r" / "vlm-a.1")
    assert written.name == "vlm-a.1" and written.max_batch_size == 32 and written.HasField("dynamic_batching")
    assert {name: value.string_value for name, value in written.parameters.items()} == {
        "directory": str(directory),
        "threads": "2",
        "device": "cuda:0",
        "dtype": "bfloat16",
        "max_new_tokens": "48",
        "constrained": "true",
    }
    assert [tensor.name for tensor in written.input] == ["picture", "prompt"]
    install_model(tmp_path / "r", "vlm-a.1", CLIP, directory)
    written = config(tmp_path / "r" / "vlm-a.1")
    assert [(tensor.name, list(tensor.dims)) for tensor in written.output] == [
        ("probabilities", [30]),
        ("error", [1]),
    ]
    assert not written.HasField("sequence_batching") and not written.dynamic_batching.priority_queue_policy
    remove_model(tmp_path / "r", "vlm-a.1")
    remove_model(tmp_path / "r", "vlm-a.1")
    assert [path.name for path in tmp_path.iterdir()] == ["r"] and not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a b", "x" * 200])
def test_names_that_are_no_folder_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="cannot be the name"):
        install_model(tmp_path, name, CLIP, tmp_path)
    with pytest.raises(ValueError, match="cannot be the name"):
        remove_model(tmp_path, name)


def test_only_what_models_answer(tmp_path):
    with pytest.raises(ValueError, match="FEEDBACK_KIND_TEXT_ANNOTATION"):
        install_model(tmp_path, "a", feedback_pb2.FEEDBACK_KIND_TEXT_ANNOTATION, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("template", ["clip_score", "vlm_action"])
def test_a_triton_without_codriver_is_told_what_to_install(template):
    file = TEMPLATES / template / "1" / config(TEMPLATES / template).default_model_filename
    python = real_environment().python
    answer = subprocess.run([str(python), "-I", "-S", str(file)], capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0
    assert "pip install 'codriver[coach]'" in answer.stderr.splitlines()[-1]


@pytest.mark.timeout(900)
def test_the_shipped_models_answer_behind_triton(tmp_path):
    """Both at once; pictures that are none cost their own row."""
    models = {"clip": (CLIP, SHIPPED / "clip-small"), "vlm": (VLM, SHIPPED / "vlm-small")}
    for _, directory in models.values():
        if not any(directory.glob("*.safetensors")):
            pytest.skip(f"{directory.name} is not there")
    picture = png.encode(np.full((192, 192, 3), 60, np.uint8))

    async def run():
        triton = EmbeddedTriton(tmp_path, real_environment())
        await triton.start()
        client = TritonClient(triton.grpc_address)
        try:
            for name, (kind, directory) in models.items():
                install_model(triton.repository, name, kind, directory)
            await asyncio.gather(*(client.load(name, 600) for name in models))
            inputs = {"picture": [picture, b"GIF89a", picture], "context": np.full((3, 1), 5, np.int32)}
            clip = (await client.infer("clip", inputs, ["probabilities", "error"], 60)).outputs
            inputs = {"picture": [picture, b"GIF89a", picture], "prompt": [b"What should the driver do?"] * 3}
            vlm = (await client.infer("vlm", inputs, ["text", "error"], 60)).outputs
        finally:
            await client.close()
            await triton.stop()
        return clip, vlm

    clip, vlm = asyncio.run(run())
    assert np.allclose(clip["probabilities"][[0, 2]].sum(1), 1, atol=1e-3)
    assert np.isnan(clip["probabilities"][1]).all()
    assert vlm["text"][0] and vlm["text"][0] == vlm["text"][2] and not vlm["text"][1]
    for errors in (clip["error"], vlm["error"]):
        assert not errors[0] and errors[1] and not errors[2]
