"""The semantics of the published queue, each pinned; in virtual time."""

import asyncio
import time
from dataclasses import replace

import pytest

from feedback_service.bench import virtual_time
from feedback_service.bench.published_load import PublishedLoad, published
from feedback_service.bench.published_queue import CLIP, VLM, PublishedQueue


class Scene:
    """A queue whose model takes ``infer_s``."""

    def __init__(self, settings, infer_s=0.0):
        self.got = []

        async def infer(rows):
            await asyncio.sleep(infer_s)

        self.queue = PublishedQueue(settings, infer, self.got.append)

    async def __aenter__(self):
        self.server = asyncio.ensure_future(self.queue.run())
        return self.queue

    async def __aexit__(self, *_):
        self.server.cancel()


def now():
    return asyncio.get_running_loop().time()


def test_virtual_time_jumps_and_notices_a_standstill():
    async def sleeper():
        await asyncio.sleep(1e6)
        return now()

    begin = time.monotonic()
    assert virtual_time.run(sleeper()) == pytest.approx(1e6)
    assert time.monotonic() - begin < 10

    async def stuck():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="nothing is going to happen"):
        virtual_time.run(stuck())


def test_batch_size_is_a_least_size_and_the_wait_is_waited_for_anyway():
    async def work():
        async with Scene(VLM) as queue:
            for step in range(64):  # enough at once
                await queue.ask(0, step)
            await asyncio.sleep(9.9)
            assert queue.batches == []
            for step in range(200):
                await queue.ask(1, step)
            await asyncio.sleep(0.2)
            assert queue.batches == [264], "no upper bound"

    virtual_time.run(work())


def test_last_requests_never_run():
    async def work():
        async with Scene(CLIP) as queue:
            for step in range(31):
                await queue.ask(0, step)
            await asyncio.sleep(3600)
            assert queue.batches == [] and queue.waiting == 31
            last = await queue.ask(0, 31)
            await asyncio.sleep(0.02)
            assert queue.batches == [32] and queue.waiting == 0
            assert last.ran_s == pytest.approx(3600)

    virtual_time.run(work())


def test_latency_floor_is_the_wait():
    figures = published(PublishedLoad("vlm", envs=8, seconds=100, repaired=True))
    assert figures["latency_s_p50_p99"][0] >= 5
    first = published(PublishedLoad("vlm", envs=64, step_s=20, seconds=60, wait_s=40, repaired=True))
    assert first["latency_s_p50_p99"][0] >= 10


def test_answers_of_the_language_model_are_lost_after_an_environments_first_poll():
    async def work():
        scene = Scene(replace(VLM, batch_rows=2, wait_s=1))
        async with scene as queue:
            early = [await queue.ask(0, 0), await queue.ask(1, 0)]
            await asyncio.sleep(1.5)
            assert queue.poll(0) == early[:1], "what came before the first poll is there"
            for step in (1, 2):
                await queue.ask(0, step)
                await queue.ask(1, step)
                await asyncio.sleep(2)
                assert queue.poll(0) == []
            assert [asked.step for asked in queue.poll(1)] == [0, 1, 2], "nobody had polled its slot"
            assert queue.lost == 2 and [asked.env for asked in scene.got] == [0, 1, 1, 1]

    virtual_time.run(work())


def test_clips_loop_writes_back():
    async def work():
        async with Scene(replace(CLIP, batch_rows=1)) as queue:
            for step in range(5):
                await queue.ask(0, step)
                await asyncio.sleep(1)
                assert [asked.step for asked in queue.poll(0)] == [step]
            assert queue.lost == 0

    virtual_time.run(work())


def test_nothing_holds_an_environment_back():
    async def work():
        async with Scene(VLM, infer_s=1e6) as queue:
            for step in range(10_000):
                await queue.ask(0, step)
            assert now() == 0, "no wait for room, whatever the backlog"
            await asyncio.sleep(100)
            assert queue.waiting == 10_000, "nothing is dropped, nothing expires"
            assert queue.entries == 20_000, "nothing is forgotten"

    virtual_time.run(work())


def test_requests_wait_while_a_batch_runs():
    async def work():
        async with Scene(replace(CLIP, batch_rows=1), infer_s=5) as queue:
            await queue.ask(0, 0)
            await asyncio.sleep(0.1)
            later = [await queue.ask(0, step) for step in (1, 2, 3)]
            await asyncio.sleep(20)
            assert queue.batches == [1, 3]
            assert [asked.ran_s for asked in later] == [pytest.approx(10.02, abs=0.02)] * 3

    virtual_time.run(work())


def test_side_by_side_figures():
    vlm = published(PublishedLoad("vlm", envs=4, seconds=120, batch_s=1.0))
    assert vlm["asked"] == 4800 and vlm["answered"] == 0 and vlm["latency_s_p50_p99"] is None
    assert vlm["lost"] + vlm["never_ran"] == 4800
    repaired = published(PublishedLoad("vlm", envs=4, seconds=110.5, batch_s=1.0, repaired=True))
    assert 0 < repaired["never_ran"] < 64 and repaired["lost"] == 0
    assert repaired["answered"] + repaired["never_ran"] == 4420
    assert repaired["age_steps_p50_p99"][0] > 50
    clip = published(PublishedLoad("clip", envs=4, seconds=120, batch_s=0.01))
    assert clip["availability"] > 0.99 and 0.3 < clip["latency_s_p50_p99"][0] < 0.9, "32 rows at 40 a second"
    assert clip == published(PublishedLoad("clip", envs=4, seconds=120, batch_s=0.01)), (
        "every run is the same"
    )
