"""The desk with a scripted Triton behind it: keys, duplicates, deadlines, ages, limits, withdrawals."""

from __future__ import annotations

import asyncio

import pytest

from codriver.v1 import feedback_pb2, observation_pb2
from feedback_service.desk.asker import outcome_name
from feedback_service.desk.desk import Desk
from feedback_service.desk.settings import CoachSettings, Route
from tests.feedback_service.desk_bench import CLIP, VLM, bench, key, picture, request
from tests.feedback_service.fake_triton import FakeModel


def run(test, tmp_path, **settings):
    async def main():
        async with bench(tmp_path, **settings) as desk_bench:
            await test(desk_bench)

    asyncio.run(main())


def one_call(**more):
    """One call of one row at a time: everything else waits in the queue."""
    return {"max_calls_in_flight": 1, "max_rows_per_call": 1, **more}


def test_values_of_both_kinds(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.05
        stream = b.stream()
        stream.ask(4, env=2, episode=1)
        stream.ask(4, env=2, episode=1, coach="clip")
        clip, vlm = sorted(await stream.wait(), key=lambda feedback: feedback.coach)
        stream.check_all_answered_once()
        assert vlm.key == clip.key == key(4, env=2, episode=1)
        assert (vlm.model_id, vlm.model_version) == ("small-vlm", "v1")
        assert (vlm.vlm_action.throttle, vlm.vlm_action.brake) == (0.5, 0.0)
        assert vlm.vlm_action.steer == pytest.approx(-0.1) and vlm.vlm_action.raw_text
        assert vlm.inference_us >= 50_000 > vlm.queue_us >= 0
        assert (clip.model_id, clip.model_version) == ("small-clip", "c1")
        assert len(clip.clip_reward.anchor_probabilities) == 30
        assert (clip.clip_reward.command_index, clip.clip_reward.speed_index) == (2, 2)
        assert not vlm.cached and not clip.cached
        assert 'Navigation command: "go straight' in b.vlm.rows[0].told and b.clip.rows[0].told == 10

    run(test, tmp_path)


def test_a_burst_goes_in_full_calls_and_one_row_alone_at_once(tmp_path):
    async def test(b):
        stream = b.stream()
        stream.ask(0)
        await stream.wait()
        for step in range(1, 21):
            stream.ask(step)
        await stream.wait()
        assert b.vlm.batches == [1, 8, 8, 4]

    run(test, tmp_path)


def test_duplicates_while_pending_are_computed_once(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.1
        one, other = b.stream(), b.stream()
        for stream in (one, one, other):
            stream.ask(0)
        await one.wait()
        await other.wait()
        one.check_all_answered_once()
        other.check_all_answered_once()
        assert len(b.vlm.rows) == 1
        assert one.answers == [one.answers[0]] * 2 and other.answers == one.answers[:1]

    run(test, tmp_path)


def test_duplicates_after_the_answer_get_the_same(tmp_path):
    async def test(b):
        stream = b.stream()
        b.vlm.answer = lambda row: "I do not know"
        stream.ask(0)
        await stream.wait()
        b.vlm.answer = None
        stream.ask(0)
        stream.asker.progress(key(7))
        stream.ask(0)
        first, second, third = await stream.wait()
        assert first.unavailable.reason == feedback_pb2.UNAVAILABLE_REASON_UNPARSEABLE
        assert second == first
        assert third.age_steps == 7
        third = feedback_pb2.Feedback.FromString(third.SerializeToString())
        third.age_steps = 0
        assert third == first
        assert len(b.vlm.rows) == 1

    run(test, tmp_path)


def test_a_key_with_another_payload_is_refused_by_name(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.05
        stream = b.stream()
        stream.ask(0, number=1)
        stream.ask(0, number=2)
        stream.ask(0, number=1, context=observation_pb2.FeedbackContext(command=1))
        await stream.wait()
        stream.ask(0, number=2)
        await stream.wait()
        assert [outcome_name(feedback) for feedback in stream.answers] == [
            "invalid_request",
            "invalid_request",
            "value",
            "invalid_request",
        ]
        assert stream.answers[0].unavailable.detail.startswith("key: was asked before with another picture")
        assert len(b.vlm.rows) == 1

    run(test, tmp_path)


def test_the_store_of_answers_is_bounded(tmp_path):
    async def test(b):
        stream = b.stream()
        for step in range(6):
            stream.ask(step)
        await stream.wait()
        stream.ask(0)
        stream.ask(5)
        await stream.wait()
        assert len(b.vlm.rows) == 7  # the first was forgotten, the last was not

    run(test, tmp_path, limits={"answers_kept": 3}, cache_entries=0)


def test_equal_pictures_are_answered_from_the_cache(tmp_path):
    async def test(b):
        stream = b.stream()
        stream.ask(0, number=5)
        await stream.wait()
        stream.ask(1, number=5)
        stream.ask(2, number=6)
        stream.ask(3, number=5, context=observation_pb2.FeedbackContext(command=1))
        await stream.wait()
        by_step = stream.by_step()
        assert [by_step[step][0].cached for step in range(4)] == [False, True, False, False]
        assert by_step[1][0].vlm_action == by_step[0][0].vlm_action
        assert (by_step[1][0].model_version, by_step[1][0].inference_us) == ("v1", 0)
        assert len(b.vlm.rows) == 3
        b.triton.models["other"] = FakeModel("vlm")
        await b.desk.coach("vlm").switch(Route("other", "other", "v2"))
        stream.ask(4, number=5)
        assert (await stream.wait())[-1].cached is False

    run(test, tmp_path)


def test_clip_contexts_that_look_alike_share_the_cache(tmp_path):
    async def test(b):
        stream = b.stream()
        for step, speed in enumerate((3.0, 3.1, 9.0)):
            told = observation_pb2.FeedbackContext(command=1, forward_speed_mps=speed, target_x_m=step)
            stream.ask(step, coach="clip", number=5, context=told)
            await stream.wait()
        assert [feedback.cached for feedback in stream.answers] == [False, True, False]

    run(test, tmp_path)


def test_only_values_are_cached(tmp_path):
    async def test(b):
        stream = b.stream()
        b.vlm.answer = lambda row: "hm"
        stream.ask(0, number=5)
        await stream.wait()
        b.vlm.answer = None
        stream.ask(1, number=5)
        await stream.wait()
        assert stream.outcomes() == {"unparseable": 1, "value": 1}

    run(test, tmp_path)


def test_expired_in_the_queue_never_reaches_the_model(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        stream.ask(0, timeout_ms=20_000)
        await b.until(lambda: b.vlm.running)
        stream.ask(1, timeout_ms=100)
        (expired,) = await stream.wait(1)
        assert expired.key.step == 1
        assert expired.unavailable.reason == feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT
        assert expired.unavailable.detail == "no answer within 0.1 s; it was in the queue"
        assert expired.queue_us >= 100_000 and expired.inference_us == 0
        assert len(b.vlm.rows) == 1 and b.desk.coach("vlm").queued == 0

    run(test, tmp_path, **one_call())


def test_expired_in_a_call_cancels_it_when_nobody_else_is_in_it(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        stream.ask(0, timeout_ms=100)
        stream.ask(1, timeout_ms=300)
        (first,) = await stream.wait(1)
        assert "its call" in first.unavailable.detail and b.vlm.running == 1
        await stream.wait()
        assert stream.outcomes() == {"timed_out": 2}
        await b.until(lambda: b.vlm.cancelled == 1)
        b.vlm.hang = False
        stream.ask(2)
        assert outcome_name((await stream.wait())[-1]) == "value"

    run(test, tmp_path)


def test_the_coachs_timeout_is_the_default_and_the_limit_caps(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        stream.ask(0)
        stream.ask(1, timeout_ms=4_000_000_000)
        await stream.wait()
        details = [feedback.unavailable.detail for feedback in stream.answers]
        assert details[0].startswith("no answer within 0.1 s") and details[1].startswith(
            "no answer within 0.3 s"
        )

    run(test, tmp_path, timeout_ms=100, limits={"max_timeout_ms": 300})


def test_ages_and_stale(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.2
        stream = b.stream()
        stream.ask(0)
        await b.until(lambda: b.vlm.running)
        stream.ask(1, max_age_steps=3)
        stream.ask(2, max_age_steps=300)
        stream.ask(3)
        stream.asker.progress(key(4))
        assert not stream.answers  # 3 steps old is not older than 3
        stream.asker.progress(key(5))
        (stale,) = stream.answers
        assert (stale.key.step, stale.age_steps) == (1, 4)
        assert stale.unavailable.reason == feedback_pb2.UNAVAILABLE_REASON_STALE
        assert stale.unavailable.detail == "4 steps old; at most 3 were wanted"
        stream.asker.progress(key(0, episode=1))  # a new episode: one step more, and not too old for that
        assert len(stream.answers) == 1
        stream.asker.progress(key(296, episode=1))
        assert len(stream.answers) == 1
        stream.asker.progress(key(297, episode=1))
        assert stream.answers[-1].unavailable.detail == "301 steps old; at most 300 were wanted"
        await stream.wait()
        ages = {feedback.key.step: feedback.age_steps for feedback in stream.answers}
        assert ages == {0: 303, 1: 4, 2: 301, 3: 300}
        assert stream.outcomes() == {"stale": 2, "value": 2}
        assert len(b.vlm.rows) == 2

    run(test, tmp_path, **one_call())


def test_other_environments_do_not_age(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.1
        stream = b.stream()
        stream.ask(0, env=0)
        stream.ask(0, env=1, max_age_steps=1)
        stream.ask(0, session="t", max_age_steps=1)
        for step in range(9):
            stream.asker.progress(key(step, env=0))
        await stream.wait()
        assert stream.outcomes() == {"value": 3}
        ages = {(one.key.session_id, one.key.env): one.age_steps for one in stream.answers}
        assert ages == {("s", 0): 8, ("s", 1): 0, ("t", 0): 0}

    run(test, tmp_path, **one_call())


def test_withdrawn_by_key_at_every_coach(tmp_path):
    async def test(b):
        b.vlm.hang = b.clip.hang = True
        stream = b.stream()
        stream.ask(0)
        stream.ask(0, coach="clip")
        await b.until(lambda: b.vlm.running and b.clip.running)
        stream.ask(1)
        stream.asker.cancel([key(0), key(1), key(99)])
        assert stream.outcomes() == {"cancelled": 3}
        stream.check_all_answered_once()
        await b.until(lambda: b.vlm.cancelled and b.clip.cancelled)
        assert b.desk.coach("vlm").unanswered == 0
        b.vlm.hang = False
        stream.ask(0)  # what was withdrawn may be asked anew
        assert outcome_name((await stream.wait())[-1]) == "value"

    run(test, tmp_path, **one_call())


def test_what_others_wait_for_goes_on(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.2
        one, other, third = b.stream(), b.stream(), b.stream()
        for stream in (one, one, other, third):
            stream.ask(0)
        await b.until(lambda: b.vlm.running)
        one.asker.cancel([key(0)])
        assert one.outcomes() == {"cancelled": 2}
        third.asker.close()
        assert third.outcomes() == {"cancelled": 1}
        await other.wait()
        assert other.outcomes() == {"value": 1} and b.vlm.cancelled == 0
        for stream in (one, other, third):
            stream.check_all_answered_once()

    run(test, tmp_path)


def test_a_closed_stream_withdraws_what_nobody_else_waits_for(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        for step in range(20):
            stream.ask(step)
        await b.until(lambda: b.vlm.running)
        stream.asker.close()
        assert stream.outcomes() == {"cancelled": 20}
        assert b.vlm.running and b.desk.coach("vlm").unanswered == 20  # for a moment
        await b.until(lambda: b.desk.coach("vlm").unanswered == 0)
        await b.until(lambda: b.vlm.cancelled == b.vlm.calls)
        stream.ask(50)
        stream.check_all_answered_once()
        assert stream.answers[-1].unavailable.detail == "the stream is closed"

    run(test, tmp_path)


def test_who_comes_back_in_time_loses_nothing(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.3
        stream = b.stream()
        for step in range(9):
            stream.ask(step)
        await b.until(lambda: b.vlm.running == 2)
        stream.asker.close()
        again = b.stream()
        for step in range(8):
            again.ask(step)
        await again.wait()
        assert again.outcomes() == {"value": 8}
        assert len(b.vlm.rows) == 9 and b.vlm.cancelled == 0  # the last one nobody asked for again
        again.ask(8)  # but its answer is there
        await again.wait()
        assert again.outcomes() == {"value": 9} and len(b.vlm.rows) == 9

    run(test, tmp_path, limits={"reconnect_grace_s": 20.0})


def test_who_leaves_a_second_time_has_the_whole_grace_again(tmp_path):
    async def test(b):
        b.vlm.hang = True
        loop = asyncio.get_running_loop()
        first = b.stream()
        first.ask(0)
        first.asker.close()
        await asyncio.sleep(0.7)
        second = b.stream()
        second.ask(0)
        second.asker.close()
        left_at = loop.time()
        await b.until(lambda: b.desk.coach("vlm").unanswered == 0)
        assert loop.time() - left_at >= 1.0

    run(test, tmp_path, limits={"reconnect_grace_s": 1.0})


def test_a_version_that_changes_at_triton_is_on_the_answers_and_not_in_the_cache(tmp_path):
    async def test(b):
        stream = b.stream()

        async def ask(step, number):
            stream.ask(step, number=number)
            answer = (await stream.wait())[-1]
            return answer.model_version, answer.cached

        await b.desk.coach("vlm").switch(Route("vlm_action", "vlm_action", "1", versioned_by_triton=True))
        assert await ask(0, 5) == ("1", False)
        b.vlm.version = "2"
        assert await ask(1, 6) == ("2", False)
        assert b.desk.coach("vlm").info().model_version == "2"
        assert await ask(2, 5) == ("2", False)  # what version 1 said is not what version 2 would say
        assert await ask(3, 5) == ("2", True)
        await b.desk.coach("vlm").switch(Route("vlm_action", "small", "v7"))
        assert await ask(4, 7) == ("v7", False)  # a stored model has the store's version

    run(test, tmp_path)


def test_limits_of_session_stream_and_coach(tmp_path):
    async def test(b):
        b.vlm.hang = b.clip.hang = True
        stream = b.stream()
        for step in range(3):
            stream.ask(step, session="a")
        assert stream.asker.credits == 5
        stream.ask(3, session="a", coach="clip")
        stream.ask(4, session="a", coach="clip")
        assert [feedback.unavailable.detail for feedback in stream.answers] == [
            "the session has 4 unanswered requests"
        ]
        for step in range(4):
            stream.ask(step, session="b")
        assert stream.asker.credits == 0
        stream.ask(0, session="c")
        assert stream.outcomes() == {"backlog": 2}
        assert stream.answers[-1].unavailable.detail == "the stream has 8 unanswered requests"
        stream.asker.close()
        stream.check_all_answered_once()

    run(test, tmp_path, limits={"max_pending_per_session": 4, "max_pending_per_stream": 8})


def test_a_full_queue_makes_room_for_those_who_have_less(tmp_path):
    async def test(b):
        b.vlm.hang = True
        stream = b.stream()
        stream.ask(0, session="first")
        await b.until(lambda: b.vlm.running)
        for step in range(6):
            stream.ask(step, session="greedy")
        assert [(one.key.step, outcome_name(one)) for one in stream.answers] == [
            (4, "backlog"),
            (5, "backlog"),
        ]
        for step in range(3):
            stream.ask(step, session="modest")
        assert [(one.key.session_id, one.key.step) for one in stream.answers[2:]] == [
            ("greedy", 3),
            ("greedy", 2),
            ("modest", 2),
        ]
        assert stream.outcomes() == {"backlog": 5}
        stream.asker.close()
        stream.check_all_answered_once()

    run(test, tmp_path, **one_call(max_queued=4))


def test_sessions_and_environments_take_turns(tmp_path):
    async def test(b):
        b.vlm.delay_s = 0.002
        stream = b.stream()
        for step in range(30):
            stream.ask(step, session="greedy", env=step % 2)
        for step in range(3):
            stream.ask(step, session="modest")
        await stream.wait()
        order = [(one.key.session_id, one.key.env, one.key.step) for one in stream.answers]
        assert [order.index(("modest", 0, step)) for step in range(3)] == [1, 3, 5]
        assert order[:8:2] == [("greedy", 0, 0), ("greedy", 1, 1), ("greedy", 0, 2), ("greedy", 1, 3)]

    run(test, tmp_path, **one_call())


def test_bad_requests_are_named_and_touch_nothing(tmp_path):
    async def test(b):
        stream = b.stream()
        stream.ask(0, coach="nobody")
        stream.ask(1, kind=CLIP)
        stream.ask(2, picture=picture(size=64))
        stream.check_all_answered_once()
        assert stream.outcomes() == {"invalid_request": 3}
        assert [one.unavailable.detail.partition(":")[0] for one in stream.answers] == [
            "coach",
            "kind",
            "picture",
        ]
        assert b.vlm.calls == 0
        assert b.metrics.counts["answered", "unknown", "invalid_request"] == 1

    run(test, tmp_path)


def test_no_model_and_a_stopping_service(tmp_path):
    async def test(b):
        stream = b.stream()
        stream.ask(0)
        info = b.desk.coach("vlm").info()
        assert (info.ready, info.model_id, info.detail) == (False, "", "no model is loaded yet")
        assert stream.answers[0].unavailable.reason == feedback_pb2.UNAVAILABLE_REASON_MODEL_NOT_LOADED
        await b.desk.coach("vlm").switch(Route("vlm_action", "m", "1"))
        info = b.desk.coach("vlm").info()
        assert (info.ready, info.model_id, info.model_version, info.detail) == (True, "m", "1", "")
        assert info.picture_spec.shape == [192, 192, 3] and info.kind == VLM
        b.vlm.hang = True
        for step in range(30):
            stream.ask(step)
        await b.until(lambda: b.vlm.running)
        await b.desk.close()
        stream.ask(100)
        assert stream.outcomes() == {"model_not_loaded": 1, "restarted": 31}
        stream.check_all_answered_once()

    run(test, tmp_path, loaded=False)


def test_an_answer_that_cannot_be_handed_over_hurts_nobody_else(tmp_path):
    async def test(b):
        def fails(feedback):
            raise RuntimeError("gone")

        bad = b.desk.open_stream(fails)
        stream = b.stream()
        for step in range(4):
            stream.ask(step)
            bad.ask(request(step))
        await stream.wait()
        assert stream.outcomes() == {"value": 4}
        assert bad.pending == 0

    run(test, tmp_path)


def test_answers_that_ask_and_withdraw_on_the_spot(tmp_path):
    """An asker may do anything inside its answer."""

    async def test(b):
        answered = []

        def answer(feedback):
            answered.append(feedback.key.step)
            if feedback.key.step < 40:
                asker.ask(request(feedback.key.step + 20))
                asker.cancel([key(feedback.key.step + 1), key(feedback.key.step + 20)])

        asker = b.desk.open_stream(answer)
        for step in range(20):
            asker.ask(request(step))
        await b.until(lambda: asker.pending == 0)
        assert sorted(set(answered)) == list(range(60)) and len(answered) == 60

    run(test, tmp_path)


def test_whoever_is_pushed_out_may_ask_again_on_the_spot(tmp_path):
    async def test(b):
        b.vlm.hang = True
        answered = []

        def answer(feedback):
            answered.append((feedback.key.session_id, feedback.key.step))
            if len(answered) == 1:
                asker.ask(request(1, session="modest"))  # the very key that pushed it out
                asker.ask(request(4, session="greedy"))

        asker = b.desk.open_stream(answer)
        asker.ask(request(0, session="first"))
        await b.until(lambda: b.vlm.running)
        for step in range(4):
            asker.ask(request(step, session="greedy"))
        asker.ask(request(1, session="modest"))
        assert answered[0] == ("greedy", 3)
        asker.close()
        assert asker.pending == 0
        await b.until(lambda: b.desk.coach("vlm").unanswered == 0)
        assert sorted(answered).count(("modest", 1)) == 2 and len(answered) == 8

    run(test, tmp_path, **one_call(max_queued=4))


def test_metrics_add_up(tmp_path):
    async def test(b):
        stream = b.stream()
        for step in range(10):
            stream.ask(step, number=step // 2)
        await stream.wait()
        for step in range(10):
            stream.ask(step + 10, number=step // 2)
        await stream.wait()
        counts = b.metrics.counts
        assert counts["asked", "vlm"] == counts["answered", "vlm", "value"] == 20
        assert counts["cached", "vlm"] >= 10
        assert sum(b.metrics.rows_of_calls) == len(b.vlm.rows)
        await b.until(lambda: b.metrics.queue == (0, 0))

    run(test, tmp_path)


def test_coaches_are_checked():
    with pytest.raises(ValueError, match="two coaches"):
        Desk([CoachSettings("a", VLM), CoachSettings("a", CLIP)], None)
    with pytest.raises(ValueError, match="not served"):
        Desk([CoachSettings("a", feedback_pb2.FEEDBACK_KIND_TEXT_ANNOTATION)], None)
