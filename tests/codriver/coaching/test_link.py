"""Whatever the feedback service does, each (coach, key) asked ends in exactly one answer."""

from __future__ import annotations

import asyncio
import time

import pytest

from codriver.coaching import pending
from codriver.coaching.link import FeedbackLink
from codriver.coaching.outcomes import Asked
from codriver.errors import InvalidArgumentError, UnavailableError
from codriver.v1 import feedback_pb2, feedback_service_pb2, observation_pb2
from tests.codriver.coaching.feedback_peer import CLIP, VLM, FeedbackPeer, answer_to, silent

pytestmark = pytest.mark.compat


def request(step, env=0, coach="vlm", kind=VLM, timeout_ms=30_000, episode=0, session_id="s", **fields):
    fields.setdefault("picture", b"a picture")
    return feedback_service_pb2.AnnotationRequest(
        key=feedback_pb2.FeedbackKey(session_id=session_id, env=env, episode=episode, step=step),
        coach=coach,
        kind=kind,
        context=observation_pb2.FeedbackContext(command=1, forward_speed_mps=float(step)),
        timeout_ms=timeout_ms,
        **fields,
    )


def reason(feedback):
    if feedback.WhichOneof("outcome") != "unavailable":
        return ""
    return feedback_pb2.UnavailableReason.Name(feedback.unavailable.reason)[len("UNAVAILABLE_REASON_") :]


class Heard(list):
    """The answers, in order of arrival."""

    def __call__(self, feedback):
        self.append(feedback)

    async def wait(self, count, limit_s=60.0):
        end = time.monotonic() + limit_s
        while len(self) < count:
            assert time.monotonic() < end, f"{len(self)} answers of {count}"
            await asyncio.sleep(0.005)
        return list(self)

    def check(self, *requests):
        """Exactly one answer for each."""
        got = sorted(Asked.of(feedback.coach, feedback.key) for feedback in self)
        assert got == sorted(Asked.of(r.coach, r.key) for r in requests)
        return {(Asked.of(f.coach, f.key).coach, f.key.step): reason(f) for f in self}


def linked(address, work, connect=True, **settings):
    """Runs ``work(link, heard)`` on a loop, closes the link, and returns what was heard."""
    heard = Heard()
    settings.setdefault("backoff_s", (0.02, 0.2))

    async def main():
        link = FeedbackLink(address, heard, **settings)
        await link.start()
        if connect:
            assert await link.wait_connected(30)
        try:
            await work(link, heard)
        finally:
            await link.close()
        assert link.pending == 0 and link._pending.size_bytes == 0
        return link

    link = asyncio.run(main())
    return heard, link


@pytest.fixture
def peer(tmp_path):
    with FeedbackPeer(tmp_path / "f") as peer:
        yield peer


async def until(condition, limit_s=30.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)


def test_requests_of_a_turn_leave_together_and_are_answered(peer):
    async def work(link, heard):
        for step in range(3):
            link.ask([request(step), request(step, coach="clip", kind=CLIP)])
        link.ask([request(5)])
        assert not heard  # never from within
        await heard.wait(7)
        assert link.credits == 9

    heard, link = linked(peer.address, work)
    heard.check(*(request(s, coach=c) for s in range(3) for c in ("vlm", "clip")), request(5))
    assert {reason(f) for f in heard} == {""} and link.counts.answered == 7
    kinds = [message.WhichOneof("message") for message in peer.received]
    assert kinds == ["picture_spec", "requests"]
    assert peer.received[0].picture_spec.shape == [192, 192, 3]
    assert peer.received[1].requests.requests[0] == request(0)


def test_what_is_pending_is_asked_once(peer):
    peer.script = silent

    async def work(link, heard):
        link.ask([request(0), request(0)])
        await until(lambda: peer.asked)
        link.ask([request(0)])
        peer.send(answer_to(request(0)), answer_to(request(0)), answer_to(request(1)))
        await heard.wait(1)
        peer.send(answer_to(request(0)))
        await until(lambda: link.counts.not_pending == 3)

    heard, link = linked(peer.address, work)
    heard.check(request(0))
    assert len(peer.asked) == 1 and link.counts.repeated == 2


def test_backlog_and_large_pictures_end_here(peer):
    peer.script = silent

    async def work(link, heard):
        link.ask([request(step) for step in range(5)])
        link.ask([request(9, picture=bytes((1 << 20) + 1))])
        await heard.wait(3)
        assert [reason(f) for f in heard] == ["BACKLOG", "BACKLOG", "INVALID_REQUEST"]

    heard, _ = linked(peer.address, work, max_pending=3)
    ended = heard.check(*(request(step) for step in range(5)), request(9))
    assert [ended["vlm", step] for step in range(3)] == ["RESTARTED"] * 3


def test_nobody_there(tmp_path):
    async def work(link, heard):
        link.ask([request(0)])  # while it is being connected to
        await heard.wait(1)
        link.ask([request(1)])
        await heard.wait(2)
        assert not link.connected and link.trouble
        with pytest.raises(UnavailableError, match="since"):
            await link.list_coaches()

    heard, _ = linked(f"unix:{tmp_path}/nobody", work, connect=False)
    assert set(heard.check(request(0), request(1)).values()) == {"MODEL_NOT_LOADED"}
    for feedback in heard:
        assert f"{tmp_path}/nobody since " in feedback.unavailable.detail


def test_a_service_that_comes_later_joins(tmp_path):
    peer = FeedbackPeer(tmp_path / "f")

    async def work(link, heard):
        link.ask([request(0)])
        await heard.wait(1)
        peer.start()
        assert await link.wait_connected(60)
        assert [coach.coach for coach in (await link.list_coaches()).coaches] == ["vlm", "clip"]
        link.ask([request(1)])
        await heard.wait(2)

    heard, _ = linked(peer.address, work, connect=False)
    peer.stop()
    assert heard.check(request(0), request(1)) == {("vlm", 0): "MODEL_NOT_LOADED", ("vlm", 1): ""}


def test_a_restart_is_resumed_within_the_deadline(peer):
    peer.script = silent

    async def work(link, heard):
        link.ask([request(step) for step in range(4)])
        await until(lambda: len(peer.asked) == 4)
        peer.stop()
        await until(lambda: not link.connected)
        peer.script = lambda peer, request: [answer_to(request)]
        peer.start()
        await heard.wait(4)

    heard, link = linked(peer.address, work)
    assert set(heard.check(*(request(step) for step in range(4))).values()) == {""}
    assert link.counts.connections == 2 and len(peer.asked) == 8
    again = peer.asked[4:]
    assert [r.key.step for r in again] == [0, 1, 2, 3]
    assert all(0 < r.timeout_ms < 30_000 for r in again)  # part of their time is over


def test_lost_and_not_resumed_in_time_is_restarted(peer):
    peer.script = silent

    async def work(link, heard):
        link.ask([request(0, timeout_ms=200), request(1, timeout_ms=30_000)])
        await until(lambda: len(peer.asked) == 2)
        peer.stop()
        await until(lambda: link.trouble)
        link.ask([request(2)])
        await heard.wait(2)

    heard, _ = linked(peer.address, work, grace_s=0.3)
    ended = heard.check(request(0), request(1), request(2))
    assert ended == {("vlm", 0): "RESTARTED", ("vlm", 1): "RESTARTED", ("vlm", 2): "MODEL_NOT_LOADED"}
    details = {f.key.step: f.unavailable.detail for f in heard}
    assert "connection was lost" in details[0] and "asker stopped" in details[1]


def test_what_was_lost_ends_soon_when_the_service_stays_away(peer):
    peer.script = silent

    async def work(link, heard):
        link.ask([request(0), request(1, timeout_ms=600_000)])
        await until(lambda: len(peer.asked) == 2)
        peer.stop()
        await until(lambda: not link.connected)
        await asyncio.sleep(0.1)
        assert not heard and link.pending == 2  # it may be back in a moment
        await heard.wait(2, 20.0)

    heard, _ = linked(peer.address, work, lost_after_s=0.5)
    assert set(heard.check(request(0), request(1)).values()) == {"RESTARTED"}
    assert all("not back after 0.5 s" in f.unavailable.detail for f in heard)


def test_a_silent_service_is_given_up_and_tried_again(peer):
    peer.script = silent

    async def work(link, heard):
        link.ask([request(0, timeout_ms=100), request(1, timeout_ms=60_000)])
        await heard.wait(1)
        assert reason(heard[0]) == "TIMED_OUT"
        await until(lambda: link.counts.connections == 2)  # not one word came: the connection may be dead
        peer.script = lambda peer, request: [answer_to(request)]
        link.ask([request(2)])
        await until(lambda: len(peer.asked) == 4)  # 1 again, and 2
        await heard.wait(2)

    heard, _ = linked(peer.address, work, grace_s=0.2)
    ended = heard.check(request(0), request(1), request(2))
    assert ended[("vlm", 0)] == "TIMED_OUT" and ended[("vlm", 2)] == ""


def test_a_slow_coach_does_not_cost_the_connection(peer):
    peer.script = lambda peer, request: [answer_to(request)] if request.coach == "clip" else []

    async def work(link, heard):
        link.ask([request(0, timeout_ms=300)])
        for step in range(20):
            link.ask([request(step, coach="clip", kind=CLIP)])
            await asyncio.sleep(0.05)
        await heard.wait(21)
        assert link.counts.connections == 1

    heard, _ = linked(peer.address, work, grace_s=0.1)
    assert sum(reason(f) == "TIMED_OUT" for f in heard) == 1


def test_a_hung_service_counts_as_away(peer):
    peer.list_delay_s = 2.0

    async def work(link, heard):
        link.ask([request(0)])
        await heard.wait(1)

    heard, link = linked(peer.address, work, connect=False, connect_timeout_s=0.2)
    assert heard.check(request(0)) == {("vlm", 0): "MODEL_NOT_LOADED"}
    assert "says nothing for 0.2 s" in heard[0].unavailable.detail and link.counts.connections == 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"vlm_action": None}, "no outcome"),
        ({"vlm_action": feedback_pb2.VlmAction(throttle=float("nan"))}, "throttle"),
        ({"vlm_action": feedback_pb2.VlmAction(steer=-3)}, "steer"),
        ({"vlm_action": None, "clip_reward": feedback_pb2.ClipReward()}, "not asked"),
        ({"vlm_action": None, "unavailable": feedback_pb2.Unavailable()}, "without a reason"),
    ],
)
def test_answers_that_break_the_contract_are_model_errors(peer, changes, fault):
    peer.script = lambda peer, request: [answer_to(request, **changes)]

    async def work(link, heard):
        link.ask([request(0)])
        await heard.wait(1)

    heard, _ = linked(peer.address, work)
    assert heard.check(request(0)) == {("vlm", 0): "MODEL_ERROR"} and fault in heard[0].unavailable.detail


@pytest.mark.parametrize(
    "probabilities", [[0.1] * 29, [float("nan")] * 30, [0.5] * 30, [2.0, -1.0, *[0] * 28]]
)
def test_probabilities_that_are_none_are_model_errors(peer, probabilities):
    wrong = feedback_pb2.ClipReward(anchor_probabilities=probabilities)
    peer.script = lambda peer, request: [answer_to(request, clip_reward=wrong)]

    async def work(link, heard):
        link.ask([request(0, coach="clip", kind=CLIP)])
        await heard.wait(1)

    heard, _ = linked(peer.address, work)
    assert heard.check(request(0, coach="clip")) == {("clip", 0): "MODEL_ERROR"}


def test_streams_that_break_at_once_are_not_hammered(peer):
    peer.break_streams = True

    async def work(link, heard):
        link.ask([request(0, timeout_ms=400)])
        await heard.wait(1)
        assert peer.streams < 40

    heard, _ = linked(peer.address, work, connect=False, grace_s=0.1)
    assert heard.check(request(0))[("vlm", 0)] in ("RESTARTED", "MODEL_NOT_LOADED")


def test_a_wrong_token_is_named_and_a_new_one_is_read(tmp_path):
    token = ["wrong"]

    async def work(link, heard):
        link.ask([request(0)])
        await heard.wait(1)
        token[0] = "right"
        assert await link.wait_connected(30)
        link.ask([request(1)])
        await heard.wait(2)

    with FeedbackPeer(tmp_path / "f", token="right") as peer:
        heard, _ = linked(peer.address, work, connect=False, token=lambda: token[0])
    assert heard.check(request(0), request(1)) == {("vlm", 0): "MODEL_NOT_LOADED", ("vlm", 1): ""}
    assert "who are you?" in heard[0].unavailable.detail


def test_cancel_ends_here_and_there(peer):
    peer.script = silent

    async def work(link, heard):
        link.ask([request(0), request(0, coach="clip", kind=CLIP), request(1)])
        await until(lambda: len(peer.asked) == 3)
        link.cancel([request(0).key, request(7).key])
        await heard.wait(2)
        await until(lambda: len(peer.received) == 3)
        peer.send(answer_to(request(1)), answer_to(request(0)))
        await heard.wait(3)
        await until(lambda: link.counts.not_pending == 1)

    heard, _ = linked(peer.address, work)
    ended = heard.check(request(0), request(0, coach="clip"), request(1))
    assert ended == {("vlm", 0): "CANCELLED", ("clip", 0): "CANCELLED", ("vlm", 1): ""}
    assert request(0).key in peer.received[2].cancel.keys


def test_progress_is_told_sparingly(peer, monkeypatch):
    monkeypatch.setattr(pending, "PROGRESS_INTERVAL_S", 0.05)
    peer.script = silent

    async def work(link, heard):
        link.progress(request(0).key)  # nothing is pending
        link.ask([request(0, max_age_steps=20), request(0, env=1)])
        await until(lambda: len(peer.asked) == 2)
        for step in range(1, 50):
            link.progress(request(step).key)
            link.progress(request(step, env=1).key)  # its requests have no age
        await until(lambda: len(peer.received) == 3)
        peer.send(answer_to(request(0)))
        await heard.wait(1)
        link.progress(request(60).key)
        await asyncio.sleep(0.2)

    linked(peer.address, work)
    told = [message.progress.latest for message in peer.received if message.HasField("progress")]
    assert told == [request(49).key]


def test_large_batches_are_split(peer):
    count, picture = 40, bytes(200_000)

    async def work(link, heard):
        link.ask([request(step, picture=picture) for step in range(count)])
        await heard.wait(count)

    heard, _ = linked(peer.address, work)
    heard.check(*(request(step) for step in range(count)))
    sizes = [message.ByteSize() for message in peer.received[1:]]
    assert len(sizes) < 10 and max(sizes) < 2 << 20


def test_a_listener_that_fails_does_not_end_the_link(peer):
    async def main():
        def failing(feedback):
            heard.append(feedback)
            raise RuntimeError("no")

        heard = Heard()
        link = FeedbackLink(peer.address, failing)
        await link.start()
        link.ask([request(0)])
        await heard.wait(1)
        link.ask([request(1)])
        await heard.wait(2)
        await link.close()
        link.ask([request(2)])
        await heard.wait(3)
        assert [reason(f) for f in heard] == ["", "", "RESTARTED"]

    asyncio.run(main())


def test_an_address_that_is_none():
    with pytest.raises(InvalidArgumentError):
        FeedbackLink("nowhere", print)


def test_no_memory_is_kept(peer):
    async def work(link, heard):
        for start in range(0, 600, 100):
            link.ask([request(step, max_age_steps=5) for step in range(start, start + 100)])
            await heard.wait(start + 100)
        held = link._outgoing
        assert not held._requests and not held._progress and not link._pending._aging and not link._ended

    linked(peer.address, work)
