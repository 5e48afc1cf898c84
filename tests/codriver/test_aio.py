"""The asyncio client against the same server."""

from __future__ import annotations

import asyncio

import pytest

from codriver.aio import AsyncAgentClient
from codriver.batch import decode_actions
from codriver.errors import DeadlineExceededError, PermissionDeniedError, UnavailableError
from tests.codriver.loopback import Loopback
from tests.codriver.test_client import batch

pytestmark = pytest.mark.compat


def test_drive_act_and_close(tmp_path):
    async def main(address):
        async with AsyncAgentClient(address) as client:
            await client.wait_ready()
            assert (await client.server_info()).server_name == "loopback"
            async with await client.open_session(num_envs=2) as session:
                stream = await session.drive()
                for step in range(5):
                    answers = decode_actions(await stream.step(batch(2, step)), 2)
                    assert answers.step.tolist() == [step, step]
                stream.close()
                assert (await session.act(batch(1, 5))).action[0] == 0.5
                assert (await session.close()).frames_ok == 11

    with Loopback(tmp_path / "s") as server:
        asyncio.run(main(server.address))


def test_receive_times_out_and_the_stream_goes_on(tmp_path):
    async def main(address):
        async with AsyncAgentClient(address) as client:
            stream = await (await client.open_session()).drive()
            await stream.send(batch(1))
            with pytest.raises(DeadlineExceededError, match="actions for 0.05 s"):
                await stream.receive(timeout_s=0.05)
            assert (await stream.receive(timeout_s=5)).step[0] == 0

    with Loopback(tmp_path / "s", delay_s=0.4) as server:
        asyncio.run(main(server.address))


def test_refusal_and_drain(tmp_path):
    async def main(address):
        async with AsyncAgentClient(address, timeout_s=5) as client:
            session = await client.open_session()
            with pytest.raises(UnavailableError, match="maintenance"):
                await (await session.drive()).receive()
            session.info.resume_token = "guess"
            with pytest.raises(PermissionDeniedError):
                await session.drive()

    with Loopback(tmp_path / "s", drain=True) as server:
        asyncio.run(main(server.address))


def test_no_server_and_a_server_that_goes(tmp_path):
    async def main():
        async with AsyncAgentClient(f"unix:{tmp_path}/s", timeout_s=5) as client:
            with pytest.raises(UnavailableError, match="Is it running"):
                await client.server_info()
            with Loopback(tmp_path / "s"):
                await client.wait_ready(5)
                stream = await (await client.open_session()).drive()
                await stream.step(batch(1))
            with pytest.raises(UnavailableError):
                await stream.receive()
            with pytest.raises(UnavailableError):
                await stream.send(batch(1, 1))

    asyncio.run(main())
