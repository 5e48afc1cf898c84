"""The parts of the desk by themselves: queue, ways, memories, checks, settings."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codriver.v1 import feedback_pb2, feedback_service_pb2, observation_pb2
from feedback_service.desk.check import wrong_field
from feedback_service.desk.fair_queue import FairQueue
from feedback_service.desk.kept import Kept
from feedback_service.desk.row import Row, RowKey
from feedback_service.desk.settings import CoachSettings, Limits
from feedback_service.desk.ways import EnvironmentWay, Ways
from tests.feedback_service.desk_bench import VLM, picture, request


def row(session="s", env=0, step=0):
    return Row(RowKey(session, env, 0, step), b"", "", "", b"", 0, EnvironmentWay(0, step), 0.0, 1.0)


def names(rows):
    return [(row.key.session_id, row.key.env, row.key.step) for row in rows]


def drain(queue):
    return names(take(queue) for _ in range(len(queue)))


def take(queue):
    row = queue.pop()
    queue.pass_turn(row)
    return row


def test_sessions_then_environments_take_turns_and_the_oldest_comes_first():
    queue = FairQueue()
    for step in range(2):
        for env in range(2):
            queue.add(row("a", env, step))
    queue.add(row("b", 7, 0))
    queue.add(row("b", 7, 1))
    assert drain(queue) == [
        ("a", 0, 0), ("b", 7, 0), ("a", 1, 0), ("b", 7, 1), ("a", 0, 1), ("a", 1, 1),
    ]  # fmt: skip
    with pytest.raises(StopIteration):
        queue.pop()


def test_a_row_that_was_not_worth_it_leaves_the_turn_where_it_is():
    queue = FairQueue()
    for session in "ab":
        for step in range(3):
            queue.add(row(session, 0, step))
    assert names([queue.pop(), queue.pop(), take(queue), take(queue)]) == [
        ("a", 0, 0), ("a", 0, 1), ("a", 0, 2), ("b", 0, 0),
    ]  # fmt: skip


def test_the_longest_makes_room_unless_all_are_alike():
    queue = FairQueue()
    rows = [row("a", env, step) for step in range(3) for env in range(2)]
    for one in rows:
        queue.add(one)
    assert queue.last_of_the_longest("b").key[:2] == ("a", 0)
    assert queue.last_of_the_longest("b").key.step == 2
    assert queue.last_of_the_longest("a") is None
    for step in range(5):
        queue.add(row("b", 0, step))
    assert queue.last_of_the_longest("b") is None
    assert FairQueue().last_of_the_longest("a") is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 2),
            st.sampled_from(["add", "add", "pop", "take", "remove"]),
        ),
        max_size=60,
    )
)
def test_any_use_of_the_queue(uses):
    queue, inside = FairQueue(), []
    for step, (session, env, use) in enumerate(uses):
        if use == "add":
            inside.append(row(session, env, step))
            queue.add(inside[-1])
        elif use in ("pop", "take") and inside:
            popped = queue.pop() if use == "pop" else take(queue)
            older = [
                one for one in inside if one.key[:2] == popped.key[:2] and one.key.step < popped.key.step
            ]
            assert not older
            inside.remove(popped)
        elif use == "remove" and inside:
            queue.remove(inside.pop(len(inside) // 2))
        sizes = Counter(one.key.session_id for one in inside)
        assert len(queue) == len(inside)
        assert {session: queue.of_session(session) for session in "abc"} == {s: sizes[s] for s in "abc"}
        first = [one for one in inside if one.key[:2] == ("a", 0)]
        assert queue.first_of("a", 0) is (first[0] if first else None)
    assert sorted(names(queue.rows())) == sorted(names(inside))


def test_ages_go_on_over_episodes():
    way = EnvironmentWay(3, 10)
    position = way.position(3, 10)
    assert way.age(position) == 0
    assert way.reach(3, 15) and way.age(position) == 5
    assert not way.reach(3, 12) and not way.reach(2, 99) and way.age(position) == 5
    assert way.age(way.position(3, 12)) == 3
    assert way.reach(4, 0) and way.age(position) == 6
    assert way.reach(4, 4) and way.age(position) == 10
    assert way.age(way.position(3, 99)) == 5
    assert way.age(way.position(5, 0)) >= 0
    largest = 2**64 - 1
    assert way.reach(5, largest) and way.reach(6, largest) and way.age(position) == largest


def test_ways_are_forgotten_when_there_are_too_many():
    ways = Ways(2)
    first, _ = ways.reach(RowKey("s", 0, 0, 5))
    ways.reach(RowKey("s", 1, 0, 0))
    assert ways.reach(RowKey("s", 0, 0, 6)) == (first, True)
    ways.reach(RowKey("s", 2, 0, 0))
    assert ways.reach(RowKey("s", 0, 0, 7))[0] is first
    assert ways.reach(RowKey("s", 1, 0, 9))[1] is False


def test_what_was_not_used_for_longest_goes_first():
    kept = Kept(2)
    kept.keep("a", 1)
    kept.keep("b", 2)
    assert kept.get("a") == 1
    kept.keep("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), len(kept)) == (1, None, 3, 2)
    kept.keep("a", 4)
    assert (kept.get("a"), len(kept)) == (4, 2)
    nothing = Kept(0)
    nothing.keep("a", 1)
    assert nothing.get("a") is None


SETTINGS = CoachSettings("vlm", VLM)


def told(**context):
    values = {"command": 1, "forward_speed_mps": 1.0, **context}
    return observation_pb2.FeedbackContext(**values)


def missing(name):
    asked = request()
    asked.ClearField(name)
    return asked


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (missing("key"), "key.session_id: must have"),
        (request(session="x" * 257), "key.session_id: must have"),
        (
            request(kind=feedback_pb2.FEEDBACK_KIND_CLIP_REWARD),
            "kind: coach 'vlm' answers FEEDBACK_KIND_VLM_ACTION",
        ),
        (missing("kind"), "kind: "),
        (request(kind=99), "kind: coach 'vlm' answers FEEDBACK_KIND_VLM_ACTION, not 99"),
        (missing("picture"), "picture: is missing"),
        (request(picture=b"GIF89a" + bytes(100)), "picture: is not a PNG file"),
        (request(picture=picture()[:20]), "picture: is not a PNG file"),
        (request(picture=picture()[:8] + bytes(100)), "picture: is not a PNG file"),
        (request(picture=picture(size=96)), "picture: is 96 x 96 pixels, not 192 x 192"),
        (request(picture=picture() + bytes(1024 * 1024)), "picture: 10486"),
        (missing("context"), "context: is missing"),
        (request(context=told(command=17)), "context.command: 17"),
        (request(context=told(forward_speed_mps=math.nan)), "context.forward_speed_mps: is not finite"),
        (request(context=told(forward_speed_mps=1e4)), "context.forward_speed_mps: must be from"),
        (request(context=told(target_x_m=math.inf)), "context.target_x_m: is not finite"),
        (request(context=told(target_y_m=-1e9)), "context.target_y_m: must be from"),
    ],
)
def test_a_refusal_names_the_field(asked, wrong):
    assert wrong_field(asked, SETTINGS, 1024 * 1024).startswith(wrong)


def test_what_is_right():
    assert wrong_field(request(), SETTINGS, 1024 * 1024) is None
    assert wrong_field(request(context=observation_pb2.FeedbackContext()), SETTINGS, 1024 * 1024) is None


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_any_bytes_are_judged(wire, tail):
    asked = feedback_service_pb2.AnnotationRequest(kind=VLM, picture=picture()[:16] + tail)
    asked.key.session_id = "s"
    assert wrong_field(asked, SETTINGS, 1024)
    asked.picture = wire
    assert wrong_field(asked, SETTINGS, 1024)


@pytest.mark.parametrize(
    "values",
    [{"max_queued": 0}, {"max_calls_in_flight": -1}, {"cache_entries": -1}, {"name": ""}, {"timeout_ms": 0}],
)
def test_settings_out_of_range(values):
    with pytest.raises(ValueError):
        CoachSettings(**{"name": "vlm", "kind": VLM, **values})
    with pytest.raises(ValueError):
        Limits(max_pending_per_session=0)
