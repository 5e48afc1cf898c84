"""The client against a scripted peer: what it carries, and the name of everything that goes wrong."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from feedback_service.triton.client import TritonClient, TritonError, TritonReason
from feedback_service.triton.errors import one_line
from feedback_service.triton.tensors import add_input, read_outputs
from tests.feedback_service.fake_triton import GOOD_TEXT, FakeModel, FakeTriton

LONG_S = 30.0
PICTURES = [b"one", b"", b"three" * 1000]


def with_peer(tmp_path, test, **model):
    async def main():
        address = f"unix:{tmp_path}/t"
        async with FakeTriton(
            address, vlm=FakeModel("vlm", **model), clip=FakeModel("clip", **model)
        ) as peer:
            client = TritonClient(address)
            try:
                return await test(client, peer)
            finally:
                await client.close()

    return asyncio.run(main())


def ask_vlm(client, timeout_s=LONG_S, pictures=PICTURES, model="vlm"):
    inputs = {"picture": pictures, "prompt": [b"p%d" % n for n in range(len(pictures))]}
    return client.infer(model, inputs, ("text", "error"), timeout_s)


def ask_clip(client, timeout_s=LONG_S):
    inputs = {"picture": [b"a", b"b"], "context": np.array([[3], [23]], np.int32)}
    return client.infer("clip", inputs, ("probabilities", "error"), timeout_s)


def test_bytes_and_numbers_arrive_on_both_sides(tmp_path):
    async def test(client, peer):
        answer = await ask_vlm(client)
        assert answer.outputs == {"text": [GOOD_TEXT.encode()] * 3, "error": [b""] * 3}
        assert answer.model_version == "7" and answer.inference_us > 0
        assert [row.picture for row in peer.models["vlm"].rows] == PICTURES
        assert [row.told for row in peer.models["vlm"].rows] == ["p0", "p1", "p2"]
        table = (await ask_clip(client)).outputs["probabilities"]
        assert table.shape == (2, 30) and table.dtype == np.float32
        assert table.argmax(1).tolist() == [3, 23]

    with_peer(tmp_path, test, version="7")


async def reason_of(call):
    with pytest.raises(TritonError) as caught:
        await call
    assert "\n" not in caught.value.detail and len(caught.value.detail) <= 300
    return caught.value.reason


@pytest.mark.parametrize("broken", FakeTriton.BROKEN)
def test_what_breaks_the_protocol_is_a_bad_answer(tmp_path, broken):
    async def test(client, peer):
        assert await reason_of(ask_vlm(client)) is TritonReason.BAD_ANSWER

    # Sizes that are consistent in themselves are the reader's business, not the protocol's.
    if broken not in ("other_rows", "other_shape", "other_dtype"):
        with_peer(tmp_path, test, broken=broken)


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (grpc.StatusCode.INTERNAL, "Stub process 'vlm' is not healthy.", TritonReason.MODEL_ERROR),
        (grpc.StatusCode.INVALID_ARGUMENT, "batch-size must be <= 8", TritonReason.MODEL_ERROR),
        (grpc.StatusCode.NOT_FOUND, "no such model", TritonReason.NOT_LOADED),
        (grpc.StatusCode.UNAVAILABLE, "Request for unknown model: 'x' is not found", TritonReason.NOT_LOADED),
        (grpc.StatusCode.UNAVAILABLE, "model is not ready", TritonReason.NOT_LOADED),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", TritonReason.UNREACHABLE),
        (grpc.StatusCode.UNIMPLEMENTED, "", TritonReason.UNREACHABLE),
        (grpc.StatusCode.CANCELLED, "", TritonReason.UNREACHABLE),
        (grpc.StatusCode.UNKNOWN, "line one\nline two " + "x" * 1000, TritonReason.MODEL_ERROR),
    ],
)
def test_statuses_have_reasons(tmp_path, code, said, reason):
    async def test(client, peer):
        assert await reason_of(ask_vlm(client)) is reason

    with_peer(tmp_path, test, fail=(code, said))


def test_unknown_model(tmp_path):
    async def test(client, peer):
        assert await reason_of(ask_vlm(client, model="other")) is TritonReason.NOT_LOADED
        assert not await client.model_ready("other", LONG_S)

    with_peer(tmp_path, test)


def test_time_is_up(tmp_path):
    async def test(client, peer):
        assert await reason_of(ask_vlm(client, timeout_s=0.2)) is TritonReason.TIMED_OUT
        assert await reason_of(ask_vlm(client, timeout_s=0)) is TritonReason.TIMED_OUT
        assert await reason_of(ask_vlm(client, timeout_s=-1)) is TritonReason.TIMED_OUT
        assert not await client.model_ready("vlm", 0.2)

    with_peer(tmp_path, test, hang=True)


def test_a_cancelled_task_cancels_the_call(tmp_path):
    async def test(client, peer):
        model = peer.models["vlm"]
        task = asyncio.create_task(ask_vlm(client))
        async with asyncio.timeout(LONG_S):
            while not model.running:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not model.cancelled:
                await asyncio.sleep(0.01)

    with_peer(tmp_path, test, hang=True)


def test_a_peer_that_dies_and_comes_back(tmp_path):
    async def test(client, peer):
        assert await client.live(LONG_S) and await client.model_ready("vlm", LONG_S)
        model = peer.models["vlm"]
        model.hang = True
        task = asyncio.create_task(ask_vlm(client))
        async with asyncio.timeout(LONG_S):
            while not model.running:
                await asyncio.sleep(0.01)
        await peer.kill()
        assert await reason_of(task) is TritonReason.UNREACHABLE
        assert await reason_of(ask_vlm(client)) is TritonReason.UNREACHABLE
        assert not await client.live(1.0)
        model.hang = False
        await peer.start()
        async with asyncio.timeout(LONG_S):
            while not await client.live(1.0):
                await asyncio.sleep(0.05)
        assert (await ask_vlm(client)).outputs["error"] == [b""] * 3

    with_peer(tmp_path, test)


def test_a_closed_client(tmp_path):
    async def test(client, peer):
        model = peer.models["vlm"]
        model.hang = True
        task = asyncio.create_task(ask_vlm(client))
        async with asyncio.timeout(LONG_S):
            while not model.running:
                await asyncio.sleep(0.01)
            closing = asyncio.create_task(client.close())
            assert await reason_of(task) is TritonReason.UNREACHABLE
            await closing
        await client.close()
        assert await reason_of(ask_vlm(client)) is TritonReason.UNREACHABLE
        assert not await client.live(1.0)

    with_peer(tmp_path, test)


def test_nobody_there():
    async def main():
        client = TritonClient("127.0.0.1:1")
        try:
            assert await reason_of(ask_vlm(client)) is TritonReason.UNREACHABLE
        finally:
            await client.close()

    asyncio.run(main())


def test_control_and_questions(tmp_path):
    async def test(client, peer):
        await client.load("vlm", LONG_S, config_json='{"a": 1}')
        await client.load("clip", LONG_S)
        assert peer.loads == [("vlm", '{"a": 1}'), ("clip", None)]
        assert [tensor.name for tensor in (await client.metadata("vlm")).inputs] == ["picture", "prompt"]
        assert (await client.config("vlm")).config.max_batch_size == 32
        assert {model.name for model in (await client.index()).models} == {"vlm", "clip"}
        assert (await client.server_metadata()).name == "triton"
        await client.statistics()
        await client.unload("vlm", LONG_S)
        assert await reason_of(client.load("vlm", LONG_S)) is TritonReason.NOT_LOADED

    with_peer(tmp_path, test)


def test_contents_in_typed_fields_are_read_as_well():
    answer = service_pb2.ModelInferResponse()
    output = answer.outputs.add(name="p", datatype="FP32", shape=[1, 2])
    output.contents.fp32_contents.extend([0.25, 0.75])
    answer.outputs.add(name="t", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(b"x")
    read = read_outputs(answer, ("p", "t"))
    assert read["p"].tolist() == [[0.25, 0.75]] and read["t"] == [b"x"]


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_bytes_survive(elements):
    request = service_pb2.ModelInferRequest()
    add_input(request, "x", elements)
    answer = service_pb2.ModelInferResponse(raw_output_contents=request.raw_input_contents)
    answer.outputs.add(name="x", datatype="BYTES", shape=request.inputs[0].shape)
    assert read_outputs(answer, ("x",))["x"] == elements


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", ">i4"])
def test_numbers_survive(dtype):
    numbers = np.arange(6).reshape(2, 3).astype(dtype)
    request = service_pb2.ModelInferRequest()
    add_input(request, "x", numbers)
    answer = service_pb2.ModelInferResponse(raw_output_contents=request.raw_input_contents)
    answer.outputs.add(name="x", datatype=request.inputs[0].datatype, shape=request.inputs[0].shape)
    np.testing.assert_array_equal(read_outputs(answer, ("x",))["x"], numbers)


def test_what_has_no_name_is_not_sent():
    with pytest.raises(TypeError, match="complex"):
        add_input(service_pb2.ModelInferRequest(), "x", np.zeros(1, np.complex64))


@given(
    st.binary(max_size=40),
    st.lists(st.integers(-2, 5), max_size=3),
    st.sampled_from(["BYTES", "FP32", "INT64", "?"]),
)
def test_any_contents_are_read_or_refused(raw, shape, datatype):
    answer = service_pb2.ModelInferResponse(raw_output_contents=[raw])
    answer.outputs.add(name="x", datatype=datatype, shape=shape)
    with contextlib.suppress(TritonError):
        assert set(read_outputs(answer, ("x",))) == {"x"}


def test_lines_are_short():
    assert one_line("a\n b") == "a b"
    assert len(one_line("x" * 10_000)) == 300
