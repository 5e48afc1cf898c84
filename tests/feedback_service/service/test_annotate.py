"""Annotate streams: agreed first, answered once each, ended in good order or with a reason."""

import asyncio
import resource

import grpc
import pytest

from codriver.rpc_status import from_rpc_error
from codriver.v1 import feedback_pb2, feedback_service_pb2_grpc, tensor_pb2
from codriver.v1 import feedback_service_pb2 as pb
from feedback_service.desk.settings import Limits


def run(work):
    return asyncio.run(asyncio.wait_for(work, 60))


def test_every_request_is_answered_and_the_stream_ends_when_all_are(kit):
    async def work():
        async with kit.serving(kit.folder) as service, kit.stream(service.address) as peer:
            service.models["clip_score"].delay_s = 0.2
            await peer.send(kit.requests(*[kit.request(step) for step in range(20)]))
            await peer.send(kit.requests(*[kit.request(step, "vlm") for step in range(20)]))
            found = await peer.rest()  # half-closed at once: what is pending is answered all the same
            assert await peer.call.code() == grpc.StatusCode.OK
        assert sorted((f.coach, f.key.step) for f in found) == [
            (coach, step) for coach in ("clip", "vlm") for step in range(20)
        ]
        assert {kit.outcome(f) for f in found} == {"clip_reward", "vlm_action"}
        assert {(f.model_id, f.model_version) for f in found} == {("clip_score", "1"), ("vlm_action", "1")}
        assert all(f.inference_us >= 200_000 for f in found if f.coach == "clip" and not f.cached)

    run(work())


def test_answers_of_one_turn_travel_together_and_tell_credits(kit):
    async def work():
        async with kit.serving(kit.folder) as service, kit.stream(service.address) as peer:
            service.models["clip_score"].delay_s = 0.1
            await peer.send(kit.requests(*[kit.request(step) for step in range(32)]))
            response = await anext(peer.responses)
            assert len(response.feedback) == 32 and response.credits >= 900
            await peer.send(kit.requests(*[kit.request(step) for step in range(3)]))  # sent again
            again = await anext(peer.responses)
            assert [f.key.step for f in again.feedback] == [0, 1, 2]
            assert again.feedback[0] == next(f for f in response.feedback if f.key.step == 0)
            assert sum(service.models["clip_score"].batches[-1:]) <= 32

    run(work())


def refused(error):
    found = from_rpc_error(error)
    return error.code().name, found.reason, found.field


FLAT = tensor_pb2.TensorSpec(name="picture", dtype=tensor_pb2.DTYPE_FLOAT32, shape=[4], encoding=1)


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ("requests", None, ("INVALID_ARGUMENT", "NO_PICTURE_SPEC", "picture_spec")),
        ("empty", None, ("INVALID_ARGUMENT", "NO_PICTURE_SPEC", "picture_spec")),
        ("flat", None, ("INVALID_ARGUMENT", "INVALID_SPEC", "picture_spec.dtype")),
        ("garbage", None, ("INVALID_ARGUMENT", "MALFORMED_MESSAGE", "")),
        ("spec", "spec", ("INVALID_ARGUMENT", "UNEXPECTED_MESSAGE", "message")),
        ("spec", "empty", ("INVALID_ARGUMENT", "UNEXPECTED_MESSAGE", "message")),
        ("spec", "garbage", ("INVALID_ARGUMENT", "MALFORMED_MESSAGE", "")),
        ("spec", "many", ("INVALID_ARGUMENT", "TOO_MANY_REQUESTS", "requests.requests")),
        ("spec", "huge", ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "")),
    ],
)
def test_streams_that_break_the_contract_end_with_details_and_others_go_on(kit, first, then, expected):
    messages = {
        "spec": pb.AnnotateRequest(picture_spec=kit.PICTURE_SPEC).SerializeToString(),
        "flat": pb.AnnotateRequest(picture_spec=FLAT).SerializeToString(),
        "empty": b"",
        "garbage": b"\xff\xff\xff",
        "requests": kit.requests(kit.request(0)).SerializeToString(),
        "many": kit.requests(*[pb.AnnotationRequest()] * 4097).SerializeToString(),
        "huge": bytes(65 * 1024 * 1024),
    }

    async def work():
        async with kit.serving(kit.folder) as service, kit.stream(service.address) as good:
            options = [("grpc.max_send_message_length", -1)]
            async with grpc.aio.insecure_channel(service.address, options) as channel:
                call = channel.stream_stream("/codriver.v1.FeedbackService/Annotate")()
                bad = kit.Peer(call)
                await bad.send(*[messages[name] for name in (first, then) if name])
                assert refused(await bad.status()) == expected
            await good.send(kit.requests(kit.request(1)))
            assert [kit.outcome(f) for f in await good.rest()] == ["clip_reward"]

    run(work())


def test_a_stream_that_never_begins_ends(kit):
    async def work():
        limits = Limits(handshake_s=0.5)
        async with kit.serving(kit.folder, limits=limits) as service, kit.stream(service.address) as good:
            async with kit.stream(service.address, spec=None) as silent:
                assert refused(await silent.status()) == (
                    "DEADLINE_EXCEEDED", "NO_PICTURE_SPEC", "picture_spec",
                )  # fmt: skip
            await good.send(kit.requests(kit.request(1)))
            assert [kit.outcome(f) for f in await good.rest()] == ["clip_reward"]

    run(work())


def test_streams_beyond_the_limit_are_refused_until_one_ends(kit):
    async def work():
        limits = Limits(max_streams=2)
        async with (
            kit.serving(kit.folder, limits=limits) as service,
            kit.stream(service.address) as one,
            kit.stream(service.address) as other,
        ):
            for peer in (one, other):
                await peer.send(kit.requests(kit.request(1)))
                await peer.read()
            async with kit.stream(service.address, spec=None) as third:
                assert refused(await third.status()) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS", "")
            await one.rest()
            async with kit.stream(service.address) as third:
                await third.send(kit.requests(kit.request(2)))
                assert [kit.outcome(f) for f in await third.rest()] == ["clip_reward"]

    run(work())


def test_every_field_of_a_picture_spec_is_named():
    from codriver.errors import SpecError
    from feedback_service.service.picture_spec import check_picture_spec

    with pytest.raises(SpecError) as caught:
        check_picture_spec(FLAT)
    assert [v.field for v in caught.value.violations] == [
        f"picture_spec.{name}" for name in ("dtype", "encoding", "shape")
    ]


def test_a_bad_request_is_answered_and_the_stream_goes_on(kit):
    async def work():
        async with kit.serving(kit.folder) as service, kit.stream(service.address) as peer:
            kind = feedback_pb2.FEEDBACK_KIND_VLM_ACTION
            await peer.send(
                kit.requests(
                    kit.request(0, picture=b"no png"),
                    kit.request(1, coach="clip-2"),
                    kit.request(2, kind=kind),
                    kit.request(3),
                    pb.AnnotationRequest(),
                )
            )
            found = {f.key.step if f.coach else -1: f for f in await peer.read(5)}
            outcomes = [kit.outcome(found[step]) for step in range(-1, 4)]
            assert outcomes == ["INVALID_REQUEST"] * 4 + ["clip_reward"]
            assert "picture" in found[0].unavailable.detail

    run(work())


def test_cancelled_and_progressed(kit):
    async def work():
        async with kit.serving(kit.folder) as service, kit.stream(service.address) as peer:
            model = service.models["clip_score"]
            model.hang = True
            await peer.send(kit.requests(*[kit.request(step) for step in range(64)]))
            await peer.send(kit.requests(kit.request(70, max_age_steps=5), kit.request(71)))
            while service.server.desk.coach("clip").unanswered < 66:
                await asyncio.sleep(0.01)
            await peer.send(pb.AnnotateRequest(cancel=pb.CancelRequests(keys=[kit.request(3).key])))
            (withdrawn,) = await peer.read()
            assert withdrawn.key.step == 3 and kit.outcome(withdrawn) == "CANCELLED"
            await peer.send(pb.AnnotateRequest(progress=pb.EnvProgress(latest=kit.request(80).key)))
            (stale,) = await peer.read()
            assert (stale.key.step, kit.outcome(stale), stale.age_steps) == (70, "STALE", 10)

    run(work())


def test_who_leaves_is_not_computed_for_any_longer(kit):
    async def work():
        async with kit.serving(kit.folder) as service:
            model = service.models["clip_score"]
            model.hang = True
            async with kit.stream(service.address) as peer:
                await peer.send(kit.requests(*[kit.request(step) for step in range(10)]))
                while not model.running:
                    await asyncio.sleep(0.01)
                peer.call.cancel()
            while model.running:
                await asyncio.sleep(0.01)
            assert service.server.desk.coach("clip").unanswered == 0

    run(work())


def test_a_peer_that_does_not_read_costs_bounded_memory_and_nobody_else_anything(kit):
    """It asks what is refused at once: answers pile up at the service, and then it is not read any more."""
    wrong = kit.requests(*[kit.request(0, coach="clip-none", picture=b"") for _ in range(1000)])

    async def work():
        async with kit.serving(kit.folder) as service:
            window = [("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0)]
            async with (
                kit.stream(service.address, options=window) as deaf,
                kit.stream(service.address) as good,
            ):
                sent = 0
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                try:
                    async with asyncio.timeout(3):
                        while sent < 1000:
                            await deaf.send(wrong)
                            sent += 1
                except TimeoutError:
                    pass
                assert sent < 1000, "it was read to the end"
                (stuck,) = [s for s in service.server._service._streams if len(s._outbox) > 100]
                assert len(stuck._outbox) < 2 * 4096
                for step in range(20):
                    await good.send(kit.requests(kit.request(step)))
                    assert kit.outcome((await good.read())[0]) == "clip_reward"
                assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
                deaf.call.cancel()

    run(work())


def test_list_coaches(kit):
    async def work():
        limits = Limits(max_pending_per_session=77)
        async with kit.serving(kit.folder, limits=limits) as service:
            async with grpc.aio.insecure_channel(service.address) as channel:
                stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
                listed = await stub.ListCoaches(pb.ListCoachesRequest())
            assert [(c.coach, c.model_id, c.ready) for c in listed.coaches] == [
                ("clip", "clip_score", True),
                ("vlm", "vlm_action", True),
            ]
            assert listed.coaches[0].picture_spec.shape == kit.PICTURE_SPEC.shape
            assert listed.max_pending_per_session == 77
            assert listed.service_instance_id == service.server.instance_id

    run(work())
