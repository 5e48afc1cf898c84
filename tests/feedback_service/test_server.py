"""The feedback service as a whole: at once there, told apart by health and metrics, protected, ended in good order."""

import asyncio
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from codriver.errors import AlreadyExistsError, InvalidArgumentError
from codriver.rpc_status import from_rpc_error
from codriver.serving.protection import Protection
from codriver.v1 import feedback_admin_service_pb2 as admin_pb
from codriver.v1 import feedback_admin_service_pb2_grpc, feedback_service_pb2_grpc
from codriver.v1 import feedback_service_pb2 as pb
from feedback_service.config import coach_choice
from feedback_service.registry.service_file import read_service_file
from feedback_service.server import FeedbackServer

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def run(work):
    return asyncio.run(asyncio.wait_for(work, 90))


async def health(address, name=""):
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status


async def until(condition, limit_s=20):
    async with asyncio.timeout(limit_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def scrape(address):
    return (await asyncio.to_thread(urllib.request.urlopen, f"http://{address}/metrics")).read().decode()


def test_answers_from_the_first_moment_and_joins_when_triton_comes(kit):
    """A drive begins while models load: its coach says why there is nothing yet, and later there is."""

    async def work():
        async with kit.serving(kit.folder, settle=False) as service:
            await service.triton.kill()
            async with kit.stream(service.address) as peer:
                await peer.send(kit.requests(kit.request(0)))
                (early,) = await peer.read()
                assert kit.outcome(early) == "MODEL_NOT_LOADED" and early.unavailable.detail
                assert await health(service.address) == SERVING
                await until(lambda: is_(health(service.address, "clip"), NOT_SERVING))
                await service.triton.start()
                await until(lambda: is_(health(service.address, "clip"), SERVING))
                await peer.send(kit.requests(kit.request(0), kit.request(1)))
                assert [kit.outcome(f) for f in await peer.read(2)] == ["clip_reward"] * 2

    run(work())


async def is_(awaitable, value):
    return await awaitable == value


def test_stops_in_good_order(kit):
    async def work():
        async with kit.serving(kit.folder) as service, kit.stream(service.address) as peer:
            service.models["clip_score"].hang = True
            await peer.send(kit.requests(*[kit.request(step) for step in range(100)]))
            while service.server.desk.coach("clip").unanswered < 100:
                await asyncio.sleep(0.01)
            assert read_service_file(kit.folder / "store").admin_address == service.server.admin_address
            service.server.stop()
            found = await peer.read(100)
            assert {kit.outcome(f) for f in found} == {"RESTARTED"}
            assert sorted(f.key.step for f in found) == list(range(100))
            error = from_rpc_error(await peer.status())
            assert (error.reason, error.retry_after_s) == ("DRAINED", 2.0)
            await service.server.wait()
            assert read_service_file(kit.folder / "store", alive=False) is None
            assert not (kit.folder / "feedback").exists()

    run(work())


def test_metrics_tell_what_happened(kit):
    async def work():
        changes = {"metrics_listen": "127.0.0.1:0"}
        async with kit.serving(kit.folder, **changes) as service, kit.stream(service.address) as peer:
            service.models["vlm_action"].answer = lambda row: "go left"
            await peer.send(kit.requests(*[kit.request(step) for step in range(8)]))
            await peer.send(kit.requests(kit.request(0, "vlm"), kit.request(0, coach="clip-none")))
            await peer.read(10)
            await peer.send(kit.requests(kit.request(64, env=1)))  # the picture of step 0
            await peer.read(1)
            await asyncio.sleep(0.5)  # the state of the coaches is looked at now and then
            text = await scrape(service.server.metrics_address)
            for line in (
                'codriver_feedback_requests_total{coach="clip"} 9.0',
                'codriver_feedback_requests_total{coach="unknown"} 1.0',
                'codriver_feedback_answers_total{cached="false",coach="clip",outcome="value"} 8.0',
                'codriver_feedback_answers_total{cached="true",coach="clip",outcome="value"} 1.0',
                'codriver_feedback_answers_total{cached="false",coach="vlm",outcome="unparseable"} 1.0',
                'codriver_feedback_queue_seconds_count{coach="clip"} 8.0',
                'codriver_feedback_call_seconds_count{coach="vlm",result="ok"} 1.0',
                'codriver_feedback_call_rows_sum{coach="clip"} 8.0',
                'codriver_feedback_coach_ready{coach="clip",model_id="clip_score",model_version="1"} 1.0',
                "codriver_feedback_streams 1.0",
            ):
                assert line in text.splitlines(), text

    run(work())


def test_who_may_call_what(kit):
    tokens = kit.folder / "tokens"
    read, drive, admin = "reader-0123456789", "driver-0123456789", "admin-00123456789"
    tokens.write_text(f"read {read}\ndrive {drive}\nadmin {admin}\n")

    async def code(call, request, token):
        try:
            await call(request, metadata=[("authorization", f"Bearer {token}")] if token else None)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    async def work():
        async with kit.serving(kit.folder, protection=Protection(tokens=tokens)) as service:
            assert await health(service.address) == SERVING
            async with (
                grpc.aio.insecure_channel(service.address) as channel,
                grpc.aio.insecure_channel(service.server.admin_address) as admin_channel,
            ):
                coaches = feedback_service_pb2_grpc.FeedbackServiceStub(channel).ListCoaches
                models = feedback_admin_service_pb2_grpc.FeedbackAdminServiceStub(admin_channel)
                assert await code(coaches, pb.ListCoachesRequest(), None) == "UNAUTHENTICATED"
                assert await code(coaches, pb.ListCoachesRequest(), read) == "OK"
                assert await code(models.ListModels, admin_pb.ListModelsRequest(), read) == "OK"
                remove = admin_pb.RemoveModelRequest(name="none")
                assert await code(models.RemoveModel, remove, drive) == "PERMISSION_DENIED"
                assert await code(models.RemoveModel, remove, admin) == "NOT_FOUND"
            for token, expected in ((None, "UNAUTHENTICATED"), (read, "PERMISSION_DENIED"), (drive, "")):
                metadata = [("authorization", f"Bearer {token}")] if token else None
                async with kit.stream(service.address, metadata=metadata) as peer:
                    if expected:
                        assert (await peer.status()).code().name == expected
                    else:
                        await peer.send(kit.requests(kit.request(0)))
                        assert kit.outcome((await peer.read())[0]) == "clip_reward"

    run(work())


def test_the_admin_service_lists_and_refuses_what_this_triton_does_not_allow(kit):
    refused = [
        ("UseModel", admin_pb.UseModelRequest(name="clip-small"), "FAILED_PRECONDITION", "--repository"),
        ("UseModel", admin_pb.UseModelRequest(name="none"), "NOT_FOUND", "none"),
        ("AddModel", admin_pb.AddModelRequest(kind=2), "INVALID_ARGUMENT", "path is empty"),
        ("AddModel", admin_pb.AddModelRequest(kind=2, path="/nowhere"), "INVALID_ARGUMENT", "nowhere"),
        ("RemoveModel", admin_pb.RemoveModelRequest(name="vlm-small"), "FAILED_PRECONDITION", "comes with"),
    ]

    async def work():
        async with (
            kit.serving(kit.folder) as service,
            grpc.aio.insecure_channel(service.server.admin_address) as channel,
        ):
            stub = feedback_admin_service_pb2_grpc.FeedbackAdminServiceStub(channel)
            listed = (await stub.ListModels(admin_pb.ListModelsRequest())).models
            at_triton = {model.name: list(model.coaches) for model in listed if model.family == "at Triton"}
            assert at_triton == {"vlm_action": ["vlm"], "clip_score": ["clip"]}
            assert {"vlm-small", "clip-small"} <= {model.name for model in listed}
            for method, request, status, words in refused:
                with pytest.raises(grpc.RpcError, match=words) as caught:
                    await getattr(stub, method)(request)
                assert caught.value.code().name == status

    run(work())


def test_other_names_and_models(kit):
    async def work():
        models = {"a": kit.FakeModel(kind="clip"), "b": kit.FakeModel(kind="clip")}
        coaches = (coach_choice("clip=clip:a"), coach_choice("clip-2=clip:b"), coach_choice("vlm=vlm:none"))
        async with kit.serving(kit.folder, settle=False, models=models, coaches=coaches) as service:
            await service.server.settled(3)  # it waits for the one that never comes
            async with kit.stream(service.address) as peer:
                await peer.send(
                    kit.requests(
                        kit.request(0, coach="clip"), kit.request(0, coach="clip-2"), kit.request(0, "vlm")
                    )
                )
                found = {f.coach: f for f in await peer.read(3)}
            assert (found["clip"].model_id, found["clip-2"].model_id) == ("a", "b")
            assert kit.outcome(found["vlm"]) == "MODEL_NOT_LOADED"
            assert "no model 'none'" in found["vlm"].unavailable.detail

    run(work())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"listen": ("0.0.0.0:0",)}, InvalidArgumentError),
        ({"admin_listen": "nonsense"}, InvalidArgumentError),
        ({"metrics_listen": "0.0.0.0:0"}, InvalidArgumentError),
        ({"store": Path("/proc/none")}, InvalidArgumentError),
        ({"protection": Protection(tokens=Path("/nowhere"))}, InvalidArgumentError),
    ],
)
def test_what_cannot_be_listened_on(kit, changes, error):
    async def work():
        with pytest.raises(error):
            async with kit.serving(kit.folder, **changes):
                pass

    run(work())


def test_two_services_do_not_share_an_address(kit):
    async def work():
        async with kit.serving(kit.folder) as service:
            second = FeedbackServer(service.server.options)
            with pytest.raises(AlreadyExistsError, match="another server listens"):
                await second.start()
            async with kit.stream(service.address) as peer:
                await peer.send(kit.requests(kit.request(0)))
                assert kit.outcome((await peer.read())[0]) == "clip_reward"

    run(work())
