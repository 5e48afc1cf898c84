"""A small gRPC server of each kind of call, and certificates made by openssl."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import types

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from codriver.serving.listen import listen
from codriver.serving.protection import Protection
from codriver.serving.tokens import Role

NEEDS = {"/toy.Toy/Unary": Role.READ, "/toy.Toy/Stream": Role.DRIVE}


async def _unary(request, context):
    return request


async def _stream(requests, context):
    async for request in requests:
        yield request


class Toy:
    """Echoes; `Unary` needs to read, `Stream` to drive, `Secret` to administer."""

    def __init__(self, address, protection):
        self._ready, self._done = threading.Event(), None
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(address, protection),))
        self._thread.start()
        assert self._ready.wait(20)

    async def _main(self, address, protection):
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        server = grpc.aio.server(
            interceptors=protection.interceptors(NEEDS), options=[("grpc.so_reuseport", 0)]
        )
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(_unary),
            "Stream": grpc.stream_stream_rpc_method_handler(_stream),
            "Secret": grpc.unary_unary_rpc_method_handler(_unary),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("toy.Toy", handlers),))
        health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        await health.set("", health_pb2.HealthCheckResponse.SERVING)
        self.address = listen(
            server, address, credentials=protection.credentials(), allow_plaintext=protection.allow_plaintext
        )
        await server.start()
        self._ready.set()
        await self._done.wait()
        await server.stop(0)

    def stop(self):
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(20)


@pytest.fixture
def serve():
    toys = []

    def start(address, **settings):
        toys.append(Toy(address, Protection(**settings)))
        return toys[-1].address

    yield start
    for toy in toys:
        toy.stop()


def _openssl(folder, command):
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
NAMES = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Two roots, `ca` and `other`; `make(name, root)` answers a certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("certificates")
    for root in ("ca", "other"):
        _openssl(folder, f"req -x509 {NEW_KEY} -days 2 -subj /CN={root} -keyout {root}.key -out {root}.pem")

    def make(name, root="ca"):
        if not (folder / f"{name}.pem").exists():
            _openssl(folder, f"req {NEW_KEY} {NAMES} -subj /CN={name} -keyout {name}.key -out {name}.csr")
            signed = f"-CA {root}.pem -CAkey {root}.key -CAcreateserial -copy_extensions copy -days 2"
            _openssl(folder, f"x509 -req -in {name}.csr {signed} -out {name}.pem")
        return folder / f"{name}.pem", folder / f"{name}.key"

    return types.SimpleNamespace(make=make, ca=folder / "ca.pem", other=folder / "other.pem", folder=folder)


@pytest.fixture
def call():
    """Calls a method of a toy once, on a connection of its own."""

    def run(address, method="Unary", credentials=None, token=None, metadata=None):
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )
        metadata = metadata or ([("authorization", f"Bearer {token}")] if token else [])
        with channel:
            if method == "Health":
                stub = health_pb2_grpc.HealthStub(channel)
                return stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status
            if method == "Stream":
                stream = channel.stream_stream("/toy.Toy/Stream")
                return list(stream(iter([b"hello"]), timeout=10, metadata=metadata))
            return channel.unary_unary(f"/toy.Toy/{method}")(b"hello", timeout=10, metadata=metadata)

    return run
