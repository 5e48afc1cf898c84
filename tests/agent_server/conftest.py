"""A real agent server on a unix socket, with a small real policy whose answers can be foretold."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import types

import grpc
import numpy as np
import pytest
import torch
from torch import nn

from agent_server.limits import Limits
from agent_server.policies.card import PolicyCard
from agent_server.policies.torch_policy import TorchPolicy
from agent_server.server import AgentServer, Options
from codriver.codecs.column import encode_column
from codriver.rpc_status import from_rpc_error
from codriver.v1 import action_pb2, agent_service_pb2_grpc, observation_pb2, tensor_pb2
from codriver.v1 import agent_service_pb2 as pb

MASKS = tensor_pb2.TensorSpec(
    name="masks",
    dtype=tensor_pb2.DTYPE_UINT8,
    shape=[2, 8, 8],
    encoding=tensor_pb2.ENCODING_BIT_PLANES,
    palettes=[tensor_pb2.Palette(levels=bytes([0, 120, 255])), tensor_pb2.Palette(levels=bytes([0, 255]))],
)
STATE = tensor_pb2.TensorSpec(
    name="state", dtype=tensor_pb2.DTYPE_FLOAT32, shape=[3], encoding=tensor_pb2.ENCODING_RAW
)
PICTURE = tensor_pb2.TensorSpec(
    name="picture",
    dtype=tensor_pb2.DTYPE_UINT8,
    shape=[4, 4, 3],
    encoding=tensor_pb2.ENCODING_PNG,
    optional=True,
)
SPEC = observation_pb2.ObservationSpec(tensors=[MASKS, STATE])
ACTIONS = action_pb2.ActionSpec(names=["acceleration", "steer"], low=[-1, -1], high=[1, 1])
FIRST, MID = observation_pb2.STEP_KIND_FIRST, observation_pb2.STEP_KIND_MID
TERMINATED, TRUNCATED = observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED


class Echo(nn.Module):
    """Acceleration: ``gain`` * first state item. Steer: mean of the first mask / 255. Value: the second item.

    A second state item above 1,000 makes it raise; ``gate`` holds passes up.
    """

    def __init__(self, gain=1.0):
        super().__init__()
        self.register_buffer("gain", torch.tensor(float(gain)))
        self.gate = threading.Event()
        self.gate.set()
        self.rows = []

    def forward(self, masks, state):
        self.rows.append(len(state))
        assert self.gate.wait(20)
        if (state[:, 1] > 1000).any():
            raise RuntimeError("state too large")
        action = torch.stack([self.gain * state[:, 0], masks[:, 0].float().mean(dim=(1, 2)) / 255], dim=1)
        return action, state[:, 1]


def make_policy(policy_id="echo", gain=1.0, std=None):
    card = PolicyCard(policy_id, "echo", SPEC, ACTIONS, has_value=True, exploration_std=std)
    return TorchPolicy(card, Echo(gain))


class ServerThread:
    """An agent server on a thread with an event loop of its own."""

    def __init__(self, policies, options):
        self.echo = getattr(policies[0], "_module", None) or Echo()  # directories have none
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._main(policies, options),), daemon=True
        )
        self._thread.start()
        assert self._ready.wait(60)

    async def _main(self, policies, options):
        self.loop = asyncio.get_running_loop()
        self.server = AgentServer(policies, options)
        await self.server.start()
        self.echo.rows.clear()
        self.address = self.server.addresses[0]
        self._ready.set()
        await self.server.wait()

    def on_loop(self, call, *args):
        done = threading.Event()
        result = []

        def run():
            result.append(call(*args))
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(20)
        return result[0]

    def stop(self):
        self.echo.gate.set()
        if self._thread.is_alive():
            self.on_loop(self.server.drain, 0.0, "the test is over")
            self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def start(tmp_path):
    """Starts servers; keyword arguments are limits, or options of the server."""
    servers, channels = [], []

    def begin(policies=None, **settings):
        options = {
            name: settings.pop(name)
            for name in (
                "model",
                "batch_cap",
                "max_delay_ms",
                "admin_listen",
                "listen",
                "reflection",
                "feedback",
                "protection",
            )
            if name in settings
        }
        options.setdefault("listen", (f"unix:{tmp_path}/s{len(servers)}",))
        server = ServerThread(
            policies or [make_policy()], Options(threads=1, limits=Limits(**settings), **options)
        )
        servers.append(server)
        return server

    def connect(server, address=None):
        channel = grpc.insecure_channel(
            address or server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        channels.append(channel)
        return agent_service_pb2_grpc.AgentServiceStub(channel)

    begin.connect = connect
    yield begin
    for channel in channels:
        channel.close()
    for server in servers:
        server.stop()


def rows(*keys, masks=0, state=(0.5, 2.0, 0.0), **columns):
    """A batch of observations; a key is (env, episode, step) or (env, episode, step, kind)."""
    batch = observation_pb2.ObservationBatch(**columns)
    for env, episode, step, *kind in keys:
        batch.env.append(env)
        batch.episode.append(episode)
        batch.step.append(step)
        batch.step_kind.append(kind[0] if kind else FIRST if step == 0 else MID)
    count = len(keys)
    levels = np.zeros((count, 2, 8, 8), np.uint8)
    levels[:, 0] = np.reshape(masks, (-1, 1, 1))
    states = np.broadcast_to(np.array(state, np.float32), (count, 3)).copy()
    batch.tensors.append(encode_column(MASKS, levels))
    batch.tensors.append(tensor_pb2.TensorColumn(data=states.tobytes()))
    return batch


def open_request(**changes):
    return pb.OpenSessionRequest(
        **{"client_name": "test", "observation_spec": SPEC, "action_spec": ACTIONS, "num_envs": 8, **changes}
    )


class Driver:
    """One attached stream of one session, a message at a time."""

    def __init__(self, stub, session=None, **changes):
        self.stub = stub
        self.session = session or stub.OpenSession(open_request(**changes), timeout=10)
        self.outgoing = _Outgoing()
        self.outgoing.put(
            pb.DriveRequest(
                attach=pb.Attach(session_id=self.session.session_id, resume_token=self.session.resume_token)
            )
        )
        self.call = stub.Drive(self.outgoing, timeout=60)
        self.attached = self.read().attached

    def send(self, batch):
        self.outgoing.put(pb.DriveRequest(observations=batch))

    def read(self):
        return next(self.call)

    def ask(self, batch):
        self.send(batch)
        response = self.read()
        assert response.WhichOneof("message") == "actions", response
        return response.actions

    def done(self):
        """Ends the sending side; what still comes."""
        self.outgoing.put(None)
        return list(self.call)

    def vanish(self):
        self.call.cancel()


class _Outgoing:
    def __init__(self):
        self._queue = queue.Queue()

    def put(self, item):
        self._queue.put(item)

    def __iter__(self):
        return self

    def __next__(self):
        item = self._queue.get()
        if item is None:
            raise StopIteration
        return item


@pytest.fixture
def kit():
    """The helpers of this file, for tests (test folders are no packages)."""
    return types.SimpleNamespace(**{k: v for k, v in globals().items() if not k.startswith("__")})


def wait_until(condition, limit_s=10):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def failure(call, *args, **kwargs):
    """The error that a call ends with: (status name, reason, CodriverError)."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **kwargs)
    error = from_rpc_error(caught.value)
    return caught.value.code().name, error.reason, error
