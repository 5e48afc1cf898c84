"""Feedback on a Drive stream: taken without losing actions, waited for without ending the stream."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from codriver.aio import AsyncAgentClient
from codriver.client import AgentClient
from codriver.errors import DeadlineExceededError, UnavailableError
from codriver.v1 import agent_service_pb2, feedback_pb2
from tests.codriver.loopback import Loopback
from tests.codriver.test_client import batch

pytestmark = pytest.mark.compat
PAUSE_S = 0.4


class Coached(Loopback):
    """Sends feedback for step n before the actions of step n, and once more, as "late", a pause after them."""

    def Drive(self, request_iterator, context):
        step = 0
        for response in super().Drive(request_iterator, context):
            if response.WhichOneof("message") == "actions":
                yield self.feedback("early", step)
                yield response
                time.sleep(PAUSE_S)
                yield self.feedback("late", step)
                step += 1
            else:
                yield response

    @staticmethod
    def feedback(coach, step):
        entry = feedback_pb2.Feedback(coach=coach, key=feedback_pb2.FeedbackKey(step=step))
        return agent_service_pb2.DriveResponse(feedback=agent_service_pb2.FeedbackBatch(feedback=[entry]))


def names(found):
    return [(entry.coach, entry.key.step) for entry in found]


@contextlib.contextmanager
def attached(client):
    with client.open_session() as session, session.drive() as stream:
        yield stream


@pytest.fixture
def server(tmp_path):
    with Coached(tmp_path / "s") as server:
        yield server


def test_feedback_is_taken_and_waited_for(server):
    with AgentClient(server.address, timeout_s=20) as client, attached(client) as stream:
        assert stream.wait_feedback(0) == []
        stream.step(batch(1, 0))
        assert names(stream.wait_feedback(0)) == [("early", 0)]
        begin = time.monotonic()
        assert stream.wait_feedback(0.01) == []  # nothing in time, and the stream goes on
        assert names(stream.wait_feedback()) == [("late", 0)]
        assert time.monotonic() - begin < 10
        stream.step(batch(1, 1))
        assert names(stream.wait_feedback()) == [("early", 1)]


def test_actions_that_come_meanwhile_are_kept(server):
    with AgentClient(server.address, timeout_s=20) as client, attached(client) as stream:
        stream.send(batch(1, 0))
        assert names(stream.wait_feedback()) == [("early", 0)]
        assert names(stream.wait_feedback()) == [("late", 0)]  # the actions came before it
        assert list(stream.receive(0.0).step) == [0]
        with pytest.raises(DeadlineExceededError):
            stream.receive(0.0)


def test_a_stream_that_has_ended_says_so(tmp_path):
    with Loopback(tmp_path / "s", drain=True) as server, AgentClient(server.address) as client:
        stream = client.open_session().drive()
        for _ in range(2):
            with pytest.raises(UnavailableError, match="drained"):
                stream.wait_feedback(5)


def test_asyncio(server):
    async def main():
        async with AsyncAgentClient(server.address, timeout_s=20) as client:
            stream = await (await client.open_session()).drive()
            assert await stream.wait_feedback(0) == []
            await stream.send(batch(1, 0))
            assert names(await stream.wait_feedback()) == [("early", 0)]
            assert names(await stream.wait_feedback()) == [("late", 0)]
            assert list((await stream.receive(0.0)).step) == [0]
            assert await stream.wait_feedback(0.01) == []
            stream.close()

    asyncio.run(main())
