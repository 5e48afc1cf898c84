"""A real feedback service before a scripted Triton, and a client that reads as slowly as it likes."""

from __future__ import annotations

import asyncio
import functools
import types
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import numpy as np
import pytest

from codriver.codecs import png
from codriver.driving import PICTURE_SIZE_PX
from codriver.v1 import feedback_pb2, feedback_service_pb2_grpc, observation_pb2, tensor_pb2
from codriver.v1 import feedback_service_pb2 as pb
from feedback_service.config import Options, coach_choice
from feedback_service.server import FeedbackServer
from tests.feedback_service.fake_triton import FakeModel, FakeTriton

PICTURE_SPEC = tensor_pb2.TensorSpec(
    name="picture",
    dtype=tensor_pb2.DTYPE_UINT8,
    shape=[PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3],
    encoding=tensor_pb2.ENCODING_PNG,
)
KIND = {"vlm": feedback_pb2.FEEDBACK_KIND_VLM_ACTION, "clip": feedback_pb2.FEEDBACK_KIND_CLIP_REWARD}
REASON = feedback_pb2.UnavailableReason


@functools.lru_cache(maxsize=64)
def picture(number=0):
    pixels = np.zeros((PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3), np.uint8)
    pixels[0, 0] = number & 255, number >> 8 & 255, number >> 16
    return png.encode(pixels)


def request(step, coach="clip", session="s", env=0, **changes):
    context = observation_pb2.FeedbackContext(
        command=observation_pb2.ROUTE_COMMAND_STRAIGHT, forward_speed_mps=2.0, target_x_m=10
    )
    return pb.AnnotationRequest(
        **{
            "key": feedback_pb2.FeedbackKey(session_id=session, env=env, step=step),
            "coach": coach,
            "kind": KIND[coach.partition("-")[0]],
            "picture": picture(step % 64),
            "context": context,
            **changes,
        }
    )


def requests(*items):
    return pb.AnnotateRequest(requests=pb.AnnotationRequests(requests=items))


def outcome(feedback):
    """``vlm_action``, ``clip_reward``, or the reason why there is none."""
    kind = feedback.WhichOneof("outcome")
    if kind != "unavailable":
        return kind
    return REASON.Name(feedback.unavailable.reason).removeprefix("UNAVAILABLE_REASON_")


class Peer:
    """One Annotate stream, a message at a time.

    It iterates: `call.read()` drops messages that came together with the stream's end.
    """

    def __init__(self, call):
        self.call = call
        self.responses = aiter(call)

    async def send(self, *messages):
        for message in messages:
            await self.call.write(message)

    async def read(self, count=1, limit_s=30):
        """At least so many answers."""
        found = []
        async with asyncio.timeout(limit_s):
            while len(found) < count:
                found += (await anext(self.responses)).feedback
        return found

    async def rest(self, limit_s=30):
        """Ends the sending side; what still comes."""
        await self.call.done_writing()
        found = []
        async with asyncio.timeout(limit_s):
            async for response in self.responses:
                found += response.feedback
        return found

    async def status(self, limit_s=30):
        """The error that the stream ends with; answers before it are dropped."""
        async with asyncio.timeout(limit_s):
            with pytest.raises(grpc.RpcError) as caught:
                await self._read_on()
        return caught.value

    async def _read_on(self):
        async for _ in self.responses:
            pass


@asynccontextmanager
async def stream(address, spec=PICTURE_SPEC, **settings):
    options = [("grpc.use_local_subchannel_pool", 1), *settings.pop("options", ())]
    async with grpc.aio.insecure_channel(address, options) as channel:
        call = feedback_service_pb2_grpc.FeedbackServiceStub(channel).Annotate(**settings)
        peer = Peer(call)
        if spec is not None:
            await peer.send(pb.AnnotateRequest(picture_spec=spec))
        yield peer


@asynccontextmanager
async def serving(folder, settle=True, **changes):
    """A service on a unix socket before a Triton with the models ``vlm_action`` and ``clip_score``."""
    models = changes.pop("models", None) or {
        "vlm_action": FakeModel(kind="vlm"),
        "clip_score": FakeModel(kind="clip"),
    }
    async with FakeTriton(f"unix:{folder}/triton", **models) as triton:
        options = Options(
            triton=triton.address,
            coaches=(coach_choice("vlm=vlm"), coach_choice("clip=clip")),
            listen=(f"unix:{folder}/feedback",),
            admin_listen=f"unix:{folder}/admin",
            store=folder / "store",
        )
        server = FeedbackServer(replace(options, **changes))
        await server.start()
        try:
            if settle:
                await server.settled(20)
            yield types.SimpleNamespace(
                server=server, triton=triton, models=models, address=server.addresses[0]
            )
        finally:
            server.stop()
            async with asyncio.timeout(30):
                await server.wait()


@pytest.fixture
def kit(tmp_path):
    """The helpers of this file, for tests (test folders are no packages)."""
    names = {name: value for name, value in globals().items() if not name.startswith("__")}
    return types.SimpleNamespace(**names, folder=tmp_path)
