"""The real Triton as a process: its start, its end, and the ends that nobody asked for."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from feedback_service.triton.client import TritonClient, TritonError
from feedback_service.triton.embedded import EmbeddedTriton, TritonStartError
from tests.feedback_service.triton.embedded import (
    SLOW_TO_LOAD,
    ask,
    eventually,
    processes,
    put_model,
    real_environment,
    server_pid,
    shared_memory,
)


@pytest.fixture
def environment():
    return real_environment()


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, and the same as an IPv6 address."""


def listening(pid):
    """Local addresses of a process's listening sockets, as the kernel writes them."""
    inodes = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                found.add(words[1].partition(":")[0])
    assert found
    return found


def triton_link(run):
    return Path(tempfile.gettempdir(), f"codriver-{run}")


def test_two_side_by_side_on_loopback_and_nothing_is_left(tmp_path, environment):
    async def run():
        state = tmp_path / "a state's $folder ü"  # Triton itself cannot work in such a one
        tritons = [EmbeddedTriton(state, environment), EmbeddedTriton(state, environment, cores=[0])]
        await asyncio.gather(*(triton.start() for triton in tritons))
        runs = [triton.log.stem for triton in tritons]
        clients = [TritonClient(triton.grpc_address) for triton in tritons]
        for name, triton, client in zip(("left", "right"), tritons, clients):
            put_model(triton.repository, name)
            await client.load(name, 60)
            probabilities, errors = await ask(client, name, b"a", b"b")
            assert probabilities[:, 0].tolist() == [0, 1] and errors == [b"", b""]
            assert client.address == triton.grpc_address
        with pytest.raises(TritonError):
            await ask(clients[0], "right", b"a")
        servers = [server_pid(run) for run in runs]
        assert set().union(*map(listening, servers)) <= LOOPBACK
        assert os.sched_getaffinity(servers[1]) == {0}
        assert all(shared_memory(run) and triton_link(run).is_symlink() for run in runs)
        await tritons[0].stop()
        assert not processes(runs[0]) and not shared_memory(runs[0])
        await ask(clients[1], "right", b"a")
        await tritons[1].stop()
        assert not processes(runs[1]) and not shared_memory(runs[1])
        assert sorted(path.suffix for path in (state / "triton").iterdir()) == ["", ".log", ".log"]
        assert not any(triton_link(run).is_symlink() for run in runs)
        for client in clients:
            await client.close()

    asyncio.run(run())


def test_a_killed_server_comes_back_at_the_same_address(tmp_path, environment):
    async def run():
        said, loaded = [], asyncio.Event()
        triton = EmbeddedTriton(tmp_path, environment, say=said.append)
        await triton.start()
        address, run = triton.grpc_address, triton.log.stem
        client = TritonClient(address)
        put_model(triton.repository, "model")

        async def load():
            await client.load("model", 60)
            loaded.set()

        triton.on_restart = load
        await load()
        loaded.clear()
        os.kill(server_pid(run), signal.SIGKILL)
        async with asyncio.timeout(60):
            await loaded.wait()
        await ask(client, "model", b"a")
        assert triton.grpc_address == address and triton.restarts == 1
        assert "SIGKILL" in said[0] and "starting it again" in said[0]
        assert len(processes("triton_python_backend_stub\0" + str(triton.repository))) == 1
        await client.close()
        await triton.stop()
        assert not processes(run) and not shared_memory(run)

    asyncio.run(run())


def test_stop_while_a_model_loads(tmp_path, environment):
    async def run():
        triton = EmbeddedTriton(tmp_path, environment)
        await triton.start()
        name = triton.log.stem
        client = TritonClient(triton.grpc_address)
        put_model(triton.repository, "slow", SLOW_TO_LOAD)
        load = asyncio.create_task(client.load("slow", 60))
        stub = f"{triton.repository}/slow/"
        assert await asyncio.to_thread(eventually, lambda: processes(stub))
        await triton.stop()
        with pytest.raises(TritonError):
            await load
        assert not processes(name) and not shared_memory(name)
        await client.close()

    asyncio.run(run())


OWNER = """
import asyncio, sys
from pathlib import Path
from feedback_service import coach_environment
from feedback_service.triton.client import TritonClient
from feedback_service.triton.embedded import EmbeddedTriton
from tests.feedback_service.triton.embedded import put_model

async def main():
    triton = EmbeddedTriton(Path(sys.argv[1]), coach_environment.find())
    await triton.start()
    put_model(triton.repository, "model")
    await TritonClient(triton.grpc_address).load("model", 60)
    print(triton.log.stem, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def owner(tmp_path, environment):
    """A process that has a Triton with a model; and the name of the run."""
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path)],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


def test_nothing_outlives_a_killed_owner(owner):
    process, run = owner
    assert run and processes(run) and shared_memory(run)
    process.kill()
    assert eventually(lambda: not processes(run) and not shared_memory(run))


def test_the_next_start_removes_what_a_killed_guard_could_not(owner, tmp_path, environment):
    process, run = owner
    (guard,) = (pid for pid in processes(run) if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    process.send_signal(signal.SIGSTOP)  # else it would start another
    os.kill(guard, signal.SIGKILL)
    process.kill()
    assert eventually(lambda: not processes(run))
    left = Path("/dev/shm", f"codriver-{run}-left")
    left.write_bytes(b"as a stub leaves it that was killed")

    async def start():
        triton = EmbeddedTriton(tmp_path, environment)
        await triton.start()
        await triton.stop()

    asyncio.run(start())
    assert not left.exists() and not (tmp_path / "triton" / run).exists()


def wheel_with(environment, tmp_path, script):
    """The environment with a server of ours in the place of Triton's."""
    wheel = tmp_path / "wheel"
    (wheel / "pytriton").mkdir(parents=True)
    server = wheel / "pytriton" / "tritonserver"
    server.mkdir()
    for part in ("backends", "caches", "python_backend_stubs"):
        (server / part).symlink_to(environment.triton / part)
    (wheel / "nvidia_pytriton.libs").symlink_to(environment.triton_wheel / "nvidia_pytriton.libs")
    (server / "bin").mkdir()
    binary = server / "bin" / "tritonserver"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return dataclasses.replace(environment, triton_wheel=wheel)


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path, environment):
    tried = tmp_path / "tried"
    words = "failed to start GRPC service: Unavailable - Socket '127.0.0.1:1' already in use"
    script = f'[ -e {tried} ] || {{ touch {tried}; echo "{words}" >&2; exit 1; }}\n'
    script += f'exec {environment.triton / "bin" / "tritonserver"} "$@"'

    async def run():
        triton = EmbeddedTriton(tmp_path, wheel_with(environment, tmp_path, script))
        await triton.start()
        assert tried.exists()
        await triton.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'no library libzip' >&2; exit 3", "no library libzip"),
        ("echo waits; sleep 60", "no answer within"),
    ],
)
def test_a_server_that_does_not_start_says_why(tmp_path, environment, script, why):
    async def run():
        triton = EmbeddedTriton(tmp_path, wheel_with(environment, tmp_path, script), start_timeout_s=2)
        with pytest.raises(TritonStartError, match=why):
            await triton.start()

    asyncio.run(run())
    assert not processes(str(tmp_path / "triton"))
    assert not [path for path in (tmp_path / "triton").iterdir() if path.is_dir()]
