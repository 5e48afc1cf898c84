"""``codriver feedback --check``: which models of a Triton fit, which do not, and why."""

import asyncio
import json

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from feedback_service.check import in_words, look_at
from feedback_service.command import main
from feedback_service.contract import likely_kind, misfits


def run(work):
    return asyncio.run(asyncio.wait_for(work, 60))


def test_what_fits_and_what_it_answers(kit):
    async def work():
        models = {
            "vlm_action": kit.FakeModel(kind="vlm"),
            "clip_score": kit.FakeModel(kind="clip", delay_s=0.05),
            "chatty": kit.FakeModel(kind="vlm", answer=lambda row: "go left"),
            "nan": kit.FakeModel(kind="clip", answer=lambda row: np.full(30, np.nan)),
            "broken": kit.FakeModel(kind="clip", broken="other_shape"),
            "away": kit.FakeModel(kind="clip", ready=False),
        }
        async with kit.FakeTriton(f"unix:{kit.folder}/t", **models) as triton:
            return await look_at(triton.address)

    report = run(work())
    assert report.reachable and report.server == "triton 2.51.0" and report.swap
    found = {model.name: model for model in report.models}
    assert {name for name, model in found.items() if model.usable} == {"vlm_action", "clip_score", "chatty"}
    assert found["clip_score"].trial_ms >= 50 and found["clip_score"].max_batch_rows == 32
    assert "throttle 0.50" in found["vlm_action"].answer
    assert "not finite" in found["nan"].answer and "probabilities" in found["broken"].answer
    assert found["away"].state == "UNAVAILABLE" and not found["away"].kind
    words = "\n".join(in_words(report))
    assert "fits vlm coaches, up to 32 rows a call" in words
    assert "does not answer: the model's probabilities are not finite" in words


def test_a_server_that_is_not_there(kit, capsys):
    assert main(["--check", "--triton", f"unix:{kit.folder}/none"]) == 1
    assert capsys.readouterr().out.startswith("No Triton answers at unix:")


def metadata(inputs, outputs):
    answer = service_pb2.ModelMetadataResponse()
    for tensors, field in ((inputs, answer.inputs), (outputs, answer.outputs)):
        for name, (datatype, *shape) in tensors.items():
            field.add(name=name, datatype=datatype, shape=shape)
    return answer


GOOD_IN = {"picture": ("BYTES", -1, 1), "context": ("INT32", -1, 1)}
GOOD_OUT = {"probabilities": ("FP32", -1, 30), "error": ("BYTES", -1, 1)}


@pytest.mark.parametrize(
    ("inputs", "outputs", "faults"),
    [
        (GOOD_IN, GOOD_OUT, []),
        (GOOD_IN, {**GOOD_OUT, "more": ("FP32", 1)}, []),
        (GOOD_IN, {**GOOD_OUT, "probabilities": ("FP32", -1, -1)}, []),
        ({**GOOD_IN, "context": ("INT64", -1, 1)}, GOOD_OUT, ["input 'context' is INT64 [B, 1], not INT32 [B, 1]"]),
        ({**GOOD_IN, "picture": ("BYTES", 1)}, GOOD_OUT, ["input 'picture' is BYTES [1], not BYTES [B, 1]"]),
        (GOOD_IN, {**GOOD_OUT, "probabilities": ("FP32", -1, 7)}, ["FP32 [B, 7], not FP32 [B, 30]"]),
        (GOOD_IN, {"probabilities": ("FP32", -1, 30)}, ["has no output 'error'"]),
        ({**GOOD_IN, "depth": ("FP32", -1, 1)}, GOOD_OUT, ["wants an input 'depth'"]),
    ],
)  # fmt: skip
def test_misfits_are_named(inputs, outputs, faults):
    assert likely_kind(inputs, outputs) == "clip"
    found = misfits("clip", metadata(inputs, outputs))
    assert len(found) == len(faults) and all(fault in line for fault, line in zip(faults, found))


def test_optional_inputs_and_other_models():
    with_depth = metadata({**GOOD_IN, "depth": ("FP32", -1, 1)}, GOOD_OUT)
    assert misfits("clip", with_depth, ["depth"]) == []
    assert likely_kind(["image"], ["classes"]) == ""
    assert likely_kind(["picture", "prompt"], ["text"]) == "vlm"


def test_as_json(kit, capsys):
    async def work():
        async with kit.FakeTriton(f"unix:{kit.folder}/t", clip_score=kit.FakeModel(kind="clip")) as triton:
            command = ["--check", "--json", "--triton", triton.address, "--coach"]
            return [
                await asyncio.to_thread(main, [*command, "clip=clip"]),
                await asyncio.to_thread(main, [*command, "vlm=vlm"]),
            ]

    assert run(work()) == [0, 1]
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["every_coach_has_a_model"] and not second["every_coach_has_a_model"]
    assert first["models"][0]["usable"] and first["models"][0]["kind"] == "clip"
