"""Another model behind a coach, while it is asked."""

from __future__ import annotations

import asyncio
import itertools

from codriver.v1 import feedback_pb2
from feedback_service.desk.asker import outcome_name
from feedback_service.desk.settings import Route
from tests.feedback_service.desk_bench import bench
from tests.feedback_service.fake_triton import FakeModel

NEW = Route("new", "new-vlm", "v2")


def run(test, tmp_path, **settings):
    async def main():
        async with bench(tmp_path, **settings) as desk_bench:
            desk_bench.triton.models["new"] = FakeModel("vlm")
            await test(desk_bench)

    asyncio.run(main())


def test_new_calls_use_the_new_model_and_old_ones_are_waited_for(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.3
        stream = b.stream()
        for step in range(50):
            stream.ask(step)
        await b.until(lambda: b.vlm.running == 4)
        switched = asyncio.create_task(b.desk.coach("vlm").switch(NEW))
        await b.until(lambda: b.triton.models["new"].calls)
        assert not switched.done() and b.vlm.running == 4  # old calls do not hold places
        await switched
        assert b.vlm.running == 0
        await stream.wait()
        stream.check_all_answered_once()
        assert stream.outcomes() == {"value": 50}
        versions = [feedback.model_version for feedback in stream.answers]
        assert versions.count("v1") == 32 and versions.count("v2") == 18
        assert {f.model_id for f in stream.answers if f.model_version == "v2"} == {"new-vlm"}

    run(test, tmp_path)


def test_switching_back_and_forth_under_load_fails_nothing(tmp_path):
    async def test(b):
        b.vlm.delay_s = b.triton.models["new"].delay_s = 0.01
        stream = b.stream()
        old = b.desk.coach("vlm").route
        steps = itertools.count()

        async def load():
            for _ in range(100):
                for _ in range(5):
                    stream.ask(next(steps))
                await asyncio.sleep(0.003)

        loading = asyncio.create_task(load())
        for route in [NEW, old] * 5:
            await asyncio.sleep(0.02)
            await b.desk.coach("vlm").switch(route)
        await loading
        await stream.wait()
        stream.check_all_answered_once()
        assert stream.outcomes() == {"value": 500}
        assert {feedback.model_version for feedback in stream.answers} == {"v1", "v2"}

    run(test, tmp_path, cache_entries=0)


def test_no_model_any_more(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.2
        stream = b.stream()
        for step in range(50):
            stream.ask(step)
        await b.until(lambda: b.vlm.running == 4)
        await b.desk.coach("vlm").switch(None, "removed by its owner")
        await stream.wait()
        stream.check_all_answered_once()
        assert stream.outcomes() == {"value": 32, "model_not_loaded": 18}
        assert b.desk.coach("vlm").info().detail == "removed by its owner"
        stream.ask(99)
        last = stream.answers[-1].unavailable
        assert (last.reason, last.detail) == (
            feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED,
            "removed by its owner",
        )

    run(test, tmp_path)


def test_a_new_model_starts_with_a_good_name(tmp_path):
    async def test(b):
        model = b.triton.models.pop("vlm_action")
        stream = b.stream()
        stream.ask(0)
        await stream.wait()
        assert not b.desk.coach("vlm").info().ready
        await b.desk.coach("vlm").switch(NEW)
        assert b.desk.coach("vlm").info().ready
        stream.ask(1)
        assert outcome_name((await stream.wait())[-1]) == "value"
        b.triton.models["vlm_action"] = model
        assert b.metrics.states == ["open", "closed"]

    run(test, tmp_path)


def test_the_same_route_again_is_a_reload(tmp_path):
    async def test(b):
        coach = b.desk.coach("vlm")
        b.vlm.delay_s = 0.1
        stream = b.stream()
        for step in range(20):
            stream.ask(step)
        await b.until(lambda: b.vlm.running)
        await coach.switch(coach.route)
        for step in range(20, 100):
            stream.ask(step)
        await stream.wait()
        assert stream.outcomes() == {"value": 100}
        assert b.vlm.busiest <= 8

    run(test, tmp_path)


def test_a_fault_of_the_model_before_is_not_counted_against_the_new_one(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        for step in range(32):
            stream.ask(step, timeout_ms=300)
        await b.until(lambda: b.vlm.running == 4)
        switched = asyncio.create_task(b.desk.coach("vlm").switch(NEW))
        stream.ask(50)
        await stream.wait()
        await switched
        assert stream.outcomes() == {"timed_out": 32, "value": 1}
        assert b.metrics.states == [] and b.desk.coach("vlm").info().ready

    run(test, tmp_path, timeout_ms=400, limits={"breaker_failures": 1})
