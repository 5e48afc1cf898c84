"""Every clause of the batcher's contract, with a model whose passes the test starts and ends."""

import math
import queue
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_server.model.batcher import Batcher, BatcherClosed, QueueFull


class Job:
    def __init__(self, name, rows=1, lane="a", deadline=math.inf):
        self.name, self.rows, self.lane, self.deadline = name, rows, lane, deadline
        self.cancelled = False


class Model:
    """Holds each pass until the test lets it go."""

    def __init__(self, held=True):
        self.started: queue.Queue = queue.Queue()
        self.go = threading.Semaphore(0)
        self.held = held
        self.fail = False

    def __call__(self, parts):
        self.started.put([(p.job.name, p.start, p.stop) for p in parts])
        if self.held:
            assert self.go.acquire(timeout=5)
        if self.fail:
            self.fail = False
            raise ValueError("no")
        return [f"{p.job.name}:{p.stop}" for p in parts]

    def next_pass(self):
        return self.started.get(timeout=5)


@pytest.fixture
def make():
    made = []

    def build(**options):
        model, reports = Model(options.pop("held", True)), queue.Queue()
        batcher = Batcher(model, reports.put, **options)
        made.append((batcher, model))
        return batcher, model, reports

    yield build
    for batcher, model in made:
        model.held = False
        model.go.release(1000)
        batcher.close(finish=False)


def occupy(batcher, model):
    batcher.submit(Job("first"))
    assert model.next_pass() == [("first", 0, 1)]


def test_starts_when_the_model_is_free_with_all_that_waits(make):
    batcher, model, reports = make(cap=8)
    occupy(batcher, model)
    for name in "xyz":
        batcher.submit(Job(name))
    model.go.release()
    assert model.next_pass() == [("x", 0, 1), ("y", 0, 1), ("z", 0, 1)]
    assert [f.job.name for f in reports.get(timeout=5)] == ["first"]
    model.go.release()
    assert [(f.job.name, f.reply) for f in reports.get(timeout=5)] == [
        ("x", "x:1"),
        ("y", "y:1"),
        ("z", "z:1"),
    ]


def test_earliest_deadline_first_then_arrival(make):
    batcher, model, _ = make(cap=2)
    occupy(batcher, model)
    now = time.monotonic()
    for name, deadline in [
        ("none1", math.inf),
        ("late", now + 50),
        ("none2", math.inf),
        ("soon", now + 10),
    ]:
        batcher.submit(Job(name, deadline=deadline))
    model.go.release()
    assert [n for n, *_ in model.next_pass()] == ["soon", "late"]
    model.go.release()
    assert [n for n, *_ in model.next_pass()] == ["none1", "none2"]


def test_a_message_that_does_not_fit_waits_whole_and_is_not_overtaken(make):
    batcher, model, _ = make(cap=4)
    occupy(batcher, model)
    for name, rows in [("three", 3), ("two", 2), ("one", 1)]:
        batcher.submit(Job(name, rows))
    model.go.release()
    assert model.next_pass() == [("three", 0, 3)]
    model.go.release()
    assert model.next_pass() == [("two", 0, 2), ("one", 0, 1)]


def test_a_message_over_the_cap_is_split_and_reported_once(make):
    batcher, model, reports = make(cap=4)
    occupy(batcher, model)
    batcher.submit(Job("big", 9))
    batcher.submit(Job("small", 2))
    model.go.release(4)
    assert model.next_pass() == [("big", 0, 4)]
    assert model.next_pass() == [("big", 4, 8)]
    assert model.next_pass() == [("big", 8, 9), ("small", 0, 2)]
    assert [f.job.name for f in reports.get(timeout=5)] == ["first"]
    assert [(f.job.name, f.reply) for f in reports.get(timeout=5)] == [
        ("big", "big:9"),
        ("small", "small:2"),
    ]


def test_a_more_urgent_message_goes_between_the_parts_of_a_split_one(make):
    batcher, model, _ = make(cap=2)
    occupy(batcher, model)
    batcher.submit(Job("big", 4))
    model.go.release()
    assert model.next_pass() == [("big", 0, 2)]
    batcher.submit(Job("soon", 1, deadline=time.monotonic() + 10))
    model.go.release()
    assert model.next_pass() == [("soon", 0, 1), ("big", 2, 3)]


def test_lanes_never_share_a_pass(make):
    batcher, model, _ = make(cap=8)
    occupy(batcher, model)
    for name, lane in [("b1", "b"), ("a1", "a"), ("b2", "b")]:
        batcher.submit(Job(name, lane=lane))
    model.go.release(2)
    assert [n for n, *_ in model.next_pass()] == ["b1", "b2"]
    assert [n for n, *_ in model.next_pass()] == ["a1"]


def test_maximum_delay_waits_for_company_but_not_longer(make):
    batcher, model, _ = make(cap=3, max_delay_s=0.15, held=False)
    begin = time.monotonic()
    batcher.submit(Job("x"))
    time.sleep(0.02)
    batcher.submit(Job("y"))
    assert len(model.next_pass()) == 2
    assert time.monotonic() - begin >= 0.15


def test_a_full_pass_does_not_wait_for_the_maximum_delay(make):
    batcher, model, _ = make(cap=2, max_delay_s=60, held=False)
    batcher.submit(Job("x"))
    batcher.submit(Job("y"))
    assert len(model.next_pass()) == 2


def test_maximum_delay_ends_at_the_earliest_deadline(make):
    batcher, model, _ = make(cap=8, max_delay_s=60, held=False)
    batcher.submit(Job("x", deadline=time.monotonic() + 0.05))
    assert len(model.next_pass()) == 1


def test_a_waiting_lane_does_not_hold_up_a_full_one(make):
    batcher, model, _ = make(cap=2, max_delay_s=60, held=False)
    batcher.submit(Job("alone", lane="a", deadline=time.monotonic() + 30))
    batcher.submit(Job("b1", lane="b"))
    batcher.submit(Job("b2", lane="b"))
    assert [n for n, *_ in model.next_pass()] == ["b1", "b2"]


def test_the_waiting_room_is_bounded_and_refuses_without_queueing(make):
    batcher, model, _ = make(cap=4, max_waiting_rows=5)
    occupy(batcher, model)
    batcher.submit(Job("x", 4))
    with pytest.raises(QueueFull, match="4 rows are waiting"):
        batcher.submit(Job("y", 2))
    batcher.submit(Job("z", 1))
    assert batcher.waiting_rows == 5
    model.go.release(2)
    assert model.next_pass() == [("x", 0, 4)]
    assert model.next_pass() == [("z", 0, 1)]
    assert batcher.waiting_rows == 0


def test_a_failing_pass_is_reported_and_the_next_one_runs(make):
    batcher, model, reports = make(cap=2)
    occupy(batcher, model)
    batcher.submit(Job("big", 5))
    batcher.submit(Job("next"))
    model.go.release()
    assert model.next_pass() == [("big", 0, 2)]
    model.fail = True
    model.go.release(2)
    assert [(f.job.name, f.error) for f in reports.get(timeout=5)] == [("first", None)]
    (failed,) = reports.get(timeout=5)
    assert failed.job.name == "big" and isinstance(failed.error, ValueError)
    assert model.next_pass() == [("next", 0, 1)]


def test_a_wrong_number_of_replies_is_a_failure():
    reports = queue.Queue()
    batcher = Batcher(lambda parts: [], reports.put)
    batcher.submit(Job("x"))
    (failed,) = reports.get(timeout=5)
    assert "1 parts went in, 0 replies" in str(failed.error)
    batcher.close()


def test_a_cancelled_job_is_dropped_unreported(make):
    batcher, model, reports = make(cap=8)
    occupy(batcher, model)
    gone, stays = Job("gone"), Job("stays")
    batcher.submit(gone)
    batcher.submit(stays)
    gone.cancelled = True
    model.go.release(2)
    assert model.next_pass() == [("stays", 0, 1)]
    assert [f.job.name for f in reports.get(timeout=5)] == ["first"]
    assert [f.job.name for f in reports.get(timeout=5)] == ["stays"]


def test_close_finishes_what_waits(make):
    batcher, model, reports = make(cap=1)
    occupy(batcher, model)
    batcher.submit(Job("x"))
    model.go.release(2)
    batcher.close()
    assert [f.job.name for f in reports.get_nowait()] == ["first"]
    assert [f.reply for f in reports.get_nowait()] == ["x:1"]
    with pytest.raises(BatcherClosed):
        batcher.submit(Job("y"))
    batcher.close()


def test_close_without_finishing_reports_what_waits(make):
    batcher, model, reports = make(cap=1)
    occupy(batcher, model)
    batcher.submit(Job("x"))
    model.go.release()
    batcher.close(finish=False)
    outcomes = {f.job.name: f.error for f in reports.get_nowait() + reports.get_nowait()}
    assert outcomes["first"] is None and isinstance(outcomes["x"], BatcherClosed)


def test_a_split_job_whose_pass_fails_while_closing_is_reported_once(make):
    batcher, model, reports = make(cap=2)
    batcher.submit(Job("long", rows=5))
    model.next_pass()
    model.fail = True
    closing = threading.Thread(target=batcher.close, args=(False,))
    closing.start()
    while not batcher._closing:
        time.sleep(0.001)
    assert reports.empty()  # what waits is reported after the running pass
    model.go.release()
    closing.join(5)
    (finished,) = reports.get_nowait()
    assert finished.job.name == "long" and isinstance(finished.error, ValueError) and reports.empty()


def test_close_does_not_wait_for_the_maximum_delay(make):
    batcher, model, _ = make(cap=8, max_delay_s=60, held=False)
    batcher.submit(Job("x"))
    batcher.close()
    assert model.next_pass() == [("x", 0, 1)]


def test_arguments_are_checked():
    with pytest.raises(ValueError):
        Batcher(lambda parts: [], lambda finished: None, cap=0)
    batcher = Batcher(lambda parts: [], lambda finished: None)
    with pytest.raises(ValueError):
        batcher.submit(Job("x", rows=0))
    batcher.close()


@settings(max_examples=60, deadline=None)
@given(
    cap=st.integers(1, 6),
    jobs=st.lists(
        st.tuples(
            st.integers(1, 9),
            st.sampled_from("ab"),
            st.sampled_from([1.0, 2.0, math.inf]),
        )
    ),
)
def test_every_row_runs_once_and_every_job_is_reported_once(cap, jobs):
    ran, reports, passes = {}, [], []

    def run(parts):
        passes.append(parts)
        for part in parts:
            ran.setdefault(part.job.name, []).extend(range(part.start, part.stop))
        return [None] * len(parts)

    batcher = Batcher(run, reports.extend, cap=cap)
    for index, (rows, lane, deadline) in enumerate(jobs):
        batcher.submit(Job(index, rows, lane, deadline))
    batcher.close()
    assert ran == {index: list(range(rows)) for index, (rows, *_) in enumerate(jobs)}
    assert sorted(f.job.name for f in reports) == list(range(len(jobs)))
    for parts in passes:
        assert sum(p.stop - p.start for p in parts) <= cap
        assert len({p.job.lane for p in parts}) == 1
        assert all(p.stop - p.start == p.job.rows for p in parts if p.job.rows <= cap)
