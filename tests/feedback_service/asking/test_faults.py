"""Models that fail in every way: each key ends in one named answer, and what can go on does."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from codriver.v1 import feedback_pb2
from feedback_service.desk.asker import outcome_name
from tests.feedback_service.desk_bench import bench, picture
from tests.feedback_service.fake_triton import FakeTriton, good_probabilities

INTERNAL = (grpc.StatusCode.INTERNAL, "Stub process 'vlm_action_0_0' is not healthy.")
LOST = (grpc.StatusCode.UNAVAILABLE, "Socket closed")


def run(test, tmp_path, **settings):
    async def main():
        async with bench(tmp_path, **settings) as desk_bench:
            await test(desk_bench)

    asyncio.run(main())


def alone(row):
    return row.picture == picture(13)


@pytest.mark.parametrize(
    ("coach", "broken"),
    [
        *(("vlm", broken) for broken in FakeTriton.BROKEN if broken != "too_large"),
        # a huge length is only one bad number there; what is too large costs time, and the client's tests have it
        *(("clip", broken) for broken in FakeTriton.BROKEN if broken not in ("huge_length", "too_large")),
    ],
)
def test_garbage_is_a_model_error_and_opens_the_breaker(tmp_path, coach, broken):
    async def test(b):
        model = b.vlm if coach == "vlm" else b.clip
        model.broken = broken
        stream = b.stream()
        for step in range(12):
            stream.ask(step, coach=coach)
        await stream.wait()
        stream.check_all_answered_once()
        outcomes = stream.outcomes()
        assert set(outcomes) <= {"model_error", "model_not_loaded"} and outcomes["model_error"]
        assert model.calls <= 12
        model.broken = ""
        await b.until(lambda: b.desk.coach(coach).info().ready)
        stream.ask(100, coach=coach)
        assert outcome_name((await stream.wait())[-1]) == "value"

    run(test, tmp_path)


def test_bad_numbers_concern_their_rows_only(tmp_path):
    async def test(b):
        def answer(row):
            table = good_probabilities(row)
            if alone(row):
                table[4] = np.nan
            return table

        b.clip.answer = answer
        stream = b.stream()
        for step in range(8):
            stream.ask(step, coach="clip", number=13 if step == 3 else step)
        await stream.wait()
        assert stream.outcomes() == {"value": 7, "model_error": 1}
        (bad,) = stream.by_step()[3]
        assert "not finite" in bad.unavailable.detail and bad.model_version == "c1"
        assert b.clip.batches == [8]

    run(test, tmp_path)


def test_a_row_that_the_model_refuses_concerns_that_row_only(tmp_path):
    async def test(b):
        b.vlm.error = lambda row: "cannot identify image file" if alone(row) else ""
        stream = b.stream()
        for step in range(8):
            stream.ask(step, number=13 if step == 3 else step)
        await stream.wait()
        assert stream.outcomes() == {"value": 7, "model_error": 1}
        assert stream.by_step()[3][0].unavailable.detail == "cannot identify image file"

    run(test, tmp_path)


def test_a_poisonous_row_hurts_nobody_else(tmp_path):
    async def test(b):
        b.vlm.poison = alone
        stream = b.stream()
        for step in range(8):
            stream.ask(step, number=13 if step == 3 else step)
        await stream.wait()
        stream.check_all_answered_once()
        assert stream.outcomes() == {"value": 7, "model_error": 1}
        assert b.vlm.batches == [8, *[1] * 8]
        assert b.metrics.counts["retried", "vlm"] == 8
        for step in range(8, 16):
            stream.ask(step)
        await stream.wait()
        assert stream.outcomes()["value"] == 15 and b.metrics.states == []

    run(test, tmp_path)


def test_many_poisonous_rows_do_not_bring_the_model_down(tmp_path):
    async def test(b):
        b.vlm.poison = alone
        stream = b.stream()
        for step in range(96):
            stream.ask(step, number=13 if step % 8 == 0 else 1000 + step)
        await stream.wait()
        assert stream.outcomes() == {"value": 84, "model_error": 12} and b.metrics.states == []

    run(test, tmp_path)


def test_unreadable_texts_do_not_count_against_the_model(tmp_path):
    async def test(b):
        b.vlm.answer = lambda row: "Ignore the format. throttle: 1"
        stream = b.stream()
        for step in range(30):
            stream.ask(step)
        await stream.wait()
        assert stream.outcomes() == {"unparseable": 30}
        assert b.metrics.states == [] and b.desk.coach("vlm").info().ready

    run(test, tmp_path)


def test_a_lost_connection_is_tried_again(tmp_path):
    async def test(b):
        b.vlm.fail, b.vlm.fail_next = LOST, 2
        stream = b.stream()
        for step in range(3):
            stream.ask(step)
        await stream.wait()
        assert stream.outcomes() == {"value": 3}
        assert b.vlm.batches == [3, 3, 3]
        assert b.metrics.counts["retried", "vlm"] == 6

    run(test, tmp_path)


def test_no_attempt_beyond_the_last_or_the_deadline(tmp_path):
    async def test(b):
        b.vlm.fail, b.vlm.fail_next = LOST, -1
        stream = b.stream()
        stream.ask(0)
        await stream.wait()
        assert stream.outcomes() == {"model_not_loaded": 1} and b.vlm.calls == 3
        b.vlm.fail_next = 1
        stream.ask(1, timeout_ms=50)
        assert outcome_name((await stream.wait())[-1]) == "timed_out"  # while it waits for another attempt
        stream.ask(2, timeout_ms=20_000)
        assert outcome_name((await stream.wait())[-1]) == "value"

    run(test, tmp_path, limits={"breaker_failures": 100, "retry_pause_s": 0.3})


def test_retries_have_a_budget(tmp_path):
    async def test(b):
        b.vlm.fail = LOST
        stream = b.stream()
        for step in range(200):
            stream.ask(step)
        await stream.wait()
        assert stream.outcomes() == {"model_not_loaded": 200}
        assert b.vlm.calls <= 200 + 10 + 0.1 * b.vlm.calls + 1

    run(test, tmp_path, max_rows_per_call=1, limits={"breaker_failures": 10_000, "max_attempts": 50})


def test_the_breaker_answers_at_once_and_closes_again(tmp_path):
    async def test(b):
        told = []
        coach = b.desk.coach("vlm")
        coach.on_unhealthy = told.append
        b.vlm.fail, b.vlm.ready = INTERNAL, False
        stream = b.stream()
        for step in range(50):
            stream.ask(step)
        await stream.wait()
        stream.check_all_answered_once()
        assert stream.outcomes()["model_not_loaded"] >= 40 and stream.outcomes()["model_error"] >= 1
        assert len(told) == 1 and "not healthy" in told[0]
        assert not coach.info().ready and "small-vlm is known to be down" in coach.info().detail
        calls = b.vlm.calls
        answered = len(stream.answers)
        stream.ask(50)
        assert len(stream.answers) == answered + 1  # at once
        assert stream.answers[-1].unavailable.reason == feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED
        await asyncio.sleep(0.5)
        assert b.vlm.calls == calls  # not ready: not even a trial
        b.vlm.ready = True
        await b.until(lambda: coach.info().ready)
        stream.ask(51)  # the trial, which fails
        await b.until(lambda: b.vlm.calls == calls + 1)
        await b.until(lambda: "open" in b.metrics.states[2:])
        b.vlm.fail = None
        await b.until(lambda: coach.info().ready)
        for step in range(52, 80):
            stream.ask(step)
        await stream.wait()
        stream.check_all_answered_once()
        assert b.vlm.batches[calls + 1] == 1  # one row first
        assert all(outcome_name(feedback) == "value" for feedback in stream.answers[-28:])
        assert b.metrics.states[:2] == ["open", "half_open"] and b.metrics.states[-1] == "closed"

    run(test, tmp_path)


def test_a_dead_stub_that_says_ready_costs_one_row_per_pause(tmp_path):
    async def test(b):
        b.vlm.fail = INTERNAL
        stream = b.stream()
        for step in range(200):
            stream.ask(step)
            await asyncio.sleep(0.005)
        await stream.wait()
        stream.check_all_answered_once()
        assert b.vlm.calls < 60
        assert set(stream.outcomes()) == {"model_error", "model_not_loaded"}

    run(test, tmp_path)


def test_a_model_that_is_not_there_is_named_at_once(tmp_path):
    async def test(b):
        model = b.triton.models.pop("vlm_action")
        stream = b.stream()
        for step in range(100):
            stream.ask(step)
        await stream.wait()
        assert stream.outcomes() == {"model_not_loaded": 100}
        assert "unknown model" in stream.answers[0].unavailable.detail
        b.triton.models["vlm_action"] = model
        await b.until(lambda: b.desk.coach("vlm").info().ready)
        stream.ask(100)
        assert outcome_name((await stream.wait())[-1]) == "value"
        stream.check_all_answered_once()

    run(test, tmp_path)


def test_triton_killed_and_restarted(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        for step in range(40):
            stream.ask(step)
            stream.ask(step, coach="clip")
        await b.until(lambda: b.vlm.running == 4)
        await b.triton.kill()
        await stream.wait()
        stream.check_all_answered_once()
        outcomes = stream.outcomes()
        assert outcomes["model_not_loaded"] >= 40 and set(outcomes) <= {"value", "model_not_loaded"}
        b.vlm.hang = False
        await b.triton.start()
        await b.until(lambda: b.desk.coach("vlm").info().ready)
        stream.ask(100)
        assert outcome_name((await stream.wait())[-1]) == "value"

    run(test, tmp_path)


def test_a_probe_on_demand(tmp_path):
    async def test(b):
        b.vlm.fail = INTERNAL
        stream = b.stream()
        for step in range(9):
            stream.ask(step)
        await stream.wait()
        assert not b.desk.coach("vlm").info().ready
        b.vlm.fail = None
        b.desk.coach("vlm").probe()
        await b.until(lambda: b.desk.coach("vlm").info().ready)

    run(test, tmp_path, limits={"breaker_pause_s": 3600.0, "breaker_longest_pause_s": 3600.0})


def test_a_hung_model_is_noticed_and_comes_back(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        for step in range(30):
            stream.ask(step)
        await stream.wait()
        stream.check_all_answered_once()
        assert stream.outcomes()["timed_out"] >= 4
        await b.until(lambda: not b.desk.coach("vlm").info().ready)
        assert "no answer within 0.2 s" in b.desk.coach("vlm").info().detail
        b.vlm.hang = False
        await b.until(lambda: b.desk.coach("vlm").info().ready)
        stream.ask(100)
        assert outcome_name((await stream.wait())[-1]) == "value"

    run(test, tmp_path, timeout_ms=400, limits={"breaker_failures": 4})


def test_impatient_askers_do_not_bring_a_model_down(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.3
        stream = b.stream()
        for step in range(40):
            stream.ask(step, timeout_ms=30)
        await stream.wait()
        assert stream.outcomes() == {"timed_out": 40} and b.metrics.states == []
        stream.ask(100)
        assert outcome_name((await stream.wait())[-1]) == "value"

    run(test, tmp_path)


def test_one_coachs_trouble_is_not_the_others(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        for step in range(100):
            stream.ask(step, timeout_ms=20_000)
            stream.ask(step, coach="clip")
        await stream.wait(100)
        assert {feedback.coach for feedback in stream.answers} == {"clip"}
        assert stream.outcomes() == {"value": 100}

    run(test, tmp_path)
