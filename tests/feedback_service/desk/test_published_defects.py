"""Defects of the published feedback queue (Found-RL's release), each as a test that this design passes."""

from __future__ import annotations

import asyncio
import time

from codriver.v1 import feedback_pb2
from feedback_service.desk.asker import outcome_name
from tests.feedback_service.desk_bench import bench, key


def run(test, tmp_path, **settings):
    async def main():
        async with bench(tmp_path, **settings) as desk_bench:
            await test(desk_bench)

    asyncio.run(main())


def test_answers_keep_coming_after_the_first_were_fetched(tmp_path):
    """There, whoever fetched its results once never got any again."""

    async def test(b):
        stream = b.stream()
        for step in range(30):
            stream.ask(step)
            answers = await stream.wait()
            assert (len(answers), answers[-1].key.step, outcome_name(answers[-1])) == (
                step + 1,
                step,
                "value",
            )

    run(test, tmp_path)


def test_the_cap_is_a_cap_and_the_last_requests_run(tmp_path):
    """There, the cap was a minimum, a fixed wait came on top, and what did not fill a batch never ran."""

    async def test(b):
        stream = b.stream()
        started = time.monotonic()
        stream.ask(0)
        await stream.wait()
        assert b.vlm.batches == [1]
        for step in range(1, 71):
            stream.ask(step)
        await stream.wait()
        assert stream.outcomes() == {"value": 71}
        assert b.vlm.batches == [1, 64, 6]
        assert time.monotonic() - started < 10  # its wait per batch; this takes a fraction of a second

    run(test, tmp_path, max_rows_per_call=64)


def test_the_queue_is_bounded_and_says_so(tmp_path):
    """There, the queue grew without end and without deadlines, and the wait that should slow askers never waited."""

    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        assert stream.asker.credits == 100
        for step in range(5000):
            stream.ask(step, session=f"s{step % 50}", timeout_ms=400)
        assert stream.asker.credits == 0
        assert b.desk.coach("vlm").queued == 100 and b.desk.coach("vlm").unanswered == 100
        assert stream.outcomes() == {"backlog": 4900}
        assert "100 rows wait for coach 'vlm'" in stream.answers[0].unavailable.detail
        await stream.wait()
        stream.check_all_answered_once()
        assert stream.outcomes()["timed_out"] == 100
        assert stream.asker.credits == 100

    run(test, tmp_path, max_queued=100)


def test_a_late_answer_never_lands_on_what_came_after(tmp_path):
    """There, a slot that was used again kept, or got, the answer to what had been in it before."""

    async def test(b):
        b.vlm.answer = lambda row: '{"throttle": %.2f, "steer": 0, "brake": 0}' % (row.picture[-1] / 100)
        b.vlm.delay_s = 0.3
        stream = b.stream()
        stream.ask(0, episode=0, number=10, timeout_ms=100)
        await b.until(lambda: b.vlm.running)
        stream.ask(0, episode=1, number=20)  # the same environment and step, another episode
        await stream.wait()
        old, new = stream.answers
        assert old.key == key(0, episode=0) and outcome_name(old) == "timed_out"
        assert new.key == key(0, episode=1) and abs(new.vlm_action.throttle - 0.2) < 1e-6
        stream.ask(0, episode=0, number=10)  # a late duplicate gets what its key was answered, nothing newer
        again = (await stream.wait())[-1]
        assert again.unavailable.reason == feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT
        assert again.key == key(0, episode=0)
        stream.check_all_answered_once()

    run(test, tmp_path)


def test_every_answer_says_who_gave_it_when_and_why_not(tmp_path):
    """There, an answer was a bare number: no model, no version, no age, and silence where there was none."""

    async def test(b):
        b.vlm.answer = lambda row: (
            "no idea" if row.picture[-1] == 1 else '{"throttle": 0, "steer": 0, "brake": 1}'
        )
        stream = b.stream()
        for step in range(3):
            stream.ask(step, number=step)
        for feedback in await stream.wait():
            assert (feedback.model_id, feedback.model_version) == ("small-vlm", "v1")
            assert feedback.inference_us > 0 and feedback.age_steps == 2 - feedback.key.step
        (unread,) = stream.by_step()[1]
        assert unread.unavailable.reason == feedback_pb2.UNAVAILABLE_REASON_UNPARSEABLE
        assert "no idea" in unread.unavailable.detail

    run(test, tmp_path)
