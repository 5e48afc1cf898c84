"""Defects of the published feedback queue (Found-RL's release), each as a scene that it fails and this design passes.

The published side is the model of it in feedback_service/bench/published_queue.py, in virtual time, and for its replay
ring the one below. The last column says where the defects of its other parts are tested.

| defect | test |
|---|---|
| 1 answers are lost after the first poll | `test_answers_keep_coming_after_the_first_were_fetched` |
| 2 the batch size is a least size, the last requests never run | `test_the_cap_is_a_cap_and_the_last_requests_run` |
| 3 indices of steering and acceleration swapped | tests/codriver/coaching: `test_margin.py::test_by_hand`,
  `test_vocabulary.py::test_throttle_and_brake` and `::test_steering`, each by the names of the anchors |
| 4 asked about the observation after the step | tests/agent_server/feedback/test_asking.py:
  `test_each_request_has_the_picture_and_facts_that_the_action_was_chosen_on` |
| 5 no bound, no deadline, no backpressure | `test_the_queue_is_bounded_and_says_so` |
| 6 answers stay in, or come into, slots that were used again | `test_a_late_answer_never_lands_on_what_came_after` |
| 10 no model, version or reason | `test_every_answer_says_who_gave_it_when_and_why_not` |
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields, replace

from codriver.v1 import feedback_pb2
from feedback_service.bench import virtual_time
from feedback_service.bench.published_queue import CLIP, VLM, Asked, PublishedQueue
from feedback_service.desk.asker import outcome_name
from tests.feedback_service.desk_bench import bench, key


def run(test, tmp_path, **settings):
    async def main():
        async with bench(tmp_path, **settings) as desk_bench:
            await test(desk_bench)

    asyncio.run(main())


def run_published(test, settings, infer_s=0.0):
    """Runs a scene on the published queue, whose model takes that long for a batch."""

    async def main():
        async def infer(rows):
            await asyncio.sleep(infer_s)

        queue = PublishedQueue(settings, infer, lambda asked: None)
        server = asyncio.ensure_future(queue.run())
        await test(queue)
        server.cancel()

    virtual_time.run(main())


class PublishedRing:
    """Its replay ring: a slot that is used again keeps its answer, and an id leads to its slot for ever."""

    def __init__(self, slots):
        self.rows, self.answers, self._slot_of, self._added = [None] * slots, [None] * slots, {}, 0

    def add(self, row):
        slot = self._added % len(self.rows)
        self.rows[slot], self._slot_of[row] = row, slot
        self._added += 1

    def answer(self, row, answer):
        self.answers[self._slot_of[row]] = answer

    def answer_of(self, row):
        return self.answers[self.rows.index(row)]


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

    async def published(queue):
        got = []
        for step in range(30):
            await queue.ask(0, step)
            await asyncio.sleep(1)
            got += queue.poll(0)
        assert [asked.step for asked in got] == [0] and queue.lost == 29

    run(test, tmp_path)
    run_published(published, replace(VLM, batch_rows=1, wait_s=0.1))


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

    async def published(queue):
        last = await queue.ask(0, 0)
        await asyncio.sleep(3600)
        assert queue.batches == [] and last.ran_s is None
        for step in range(1, 71):
            last = await queue.ask(0, step)
        await asyncio.sleep(3600)
        assert queue.batches == [64] and queue.waiting == 7 and last.ran_s is None

    run(test, tmp_path, max_rows_per_call=64)
    run_published(published, VLM)


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

    async def published(queue):
        for step in range(5000):
            await queue.ask(step % 50, step)
        assert asyncio.get_running_loop().time() == 0  # nobody was made to wait
        await asyncio.sleep(3600)
        assert queue.waiting == 5000 and not any(queue.poll(env) for env in range(50))

    run(test, tmp_path, max_queued=100)
    run_published(published, VLM, infer_s=1e6)


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

    async def published(queue):
        ring = PublishedRing(slots=1)
        old = await queue.ask(0, 0)
        ring.add(old)
        await asyncio.sleep(0.1)  # its batch runs, and no deadline ends it
        new = await queue.ask(0, 0)
        ring.add(new)
        await asyncio.sleep(0.3)
        for asked in queue.poll(0):
            ring.answer(asked, asked)
        assert ring.answer_of(new) is old
        ring.add("the next")
        assert ring.answer_of("the next") is old

    run(test, tmp_path)
    run_published(published, replace(CLIP, batch_rows=1), infer_s=0.3)


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

    async def published(queue):
        for step in range(3):
            await queue.ask(0, step)
        await asyncio.sleep(3600)
        assert queue.poll(0) == []  # and no word why
        told = {field.name for field in fields(Asked)}
        assert not told & {"model_id", "model_version", "age_steps", "reason"}

    run(test, tmp_path)
    run_published(published, CLIP)
