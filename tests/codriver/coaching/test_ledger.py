"""The ledger of feedback: every key ends once, whatever the server says or does not say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codriver.coaching.ledger import RECENT_KEYS, FeedbackLedger, reason_name
from codriver.v1 import feedback_pb2

pytestmark = pytest.mark.compat
TIMED_OUT = feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT


def feedback(step, coach="vlm", env=0, episode=0, reason=0, session=""):
    key = feedback_pb2.FeedbackKey(session_id=session, env=env, episode=episode, step=step)
    if reason:
        return feedback_pb2.Feedback(
            key=key, coach=coach, unavailable=feedback_pb2.Unavailable(reason=reason)
        )
    return feedback_pb2.Feedback(key=key, coach=coach, vlm_action=feedback_pb2.VlmAction(throttle=0.5))


def test_a_key_is_owed_by_every_coach_until_it_answers():
    ledger = FeedbackLedger(["vlm", "clip"])
    ledger.ask(0, 0, 0)
    ledger.ask(1, 0, 0)
    assert (ledger.pending, ledger.outstanding(0), ledger.outstanding(1), ledger.outstanding(2)) == (
        4,
        2,
        2,
        0,
    )
    settled = ledger.take(feedback(0, "clip"))
    assert settled.key == ("clip", 0, 0, 0) and settled.reason == ""
    assert (ledger.pending, ledger.outstanding(0)) == (3, 1)
    settled = ledger.take(feedback(0, "vlm", reason=TIMED_OUT))
    assert settled.reason == "TIMED_OUT"
    assert (ledger.outstanding(0), ledger.outstanding(1)) == (0, 2)


def test_ages_are_steps_of_the_environment_over_episodes():
    ledger = FeedbackLedger(["vlm"])
    ledger.ask(0, 0, 8)
    for _ in range(3):
        ledger.step(0)
        ledger.step(1)
        ledger.step(1)
    assert ledger.take(feedback(8)).age_steps == 3
    ledger.ask(0, 0, 11)  # the episode's last marked step; the next one begins meanwhile
    for _ in range(5):
        ledger.step(0)
    ledger.ask(0, 1, 2)
    assert ledger.take(feedback(2, episode=1)).age_steps == 0
    assert ledger.take(feedback(11)).age_steps == 5
    assert ledger.figures()["vlm"]["age_steps_max"] == 5


def test_second_answers_and_answers_to_nothing_are_counted_and_settle_nothing():
    ledger = FeedbackLedger(["vlm"], session_id="mine")
    ledger.ask(0, 0, 0)
    assert ledger.take(feedback(0, session="theirs")) is None
    assert ledger.take(feedback(0, session="mine")) is not None
    assert ledger.take(feedback(0, session="mine")) is None
    assert ledger.take(feedback(7)) is None
    assert ledger.take(feedback(0, coach="stranger")) is None
    assert (ledger.duplicates, ledger.unknown, ledger.pending) == (1, 3, 0)
    assert ledger.figures()["vlm"]["values"] == 1


def test_a_key_that_is_sent_again_is_asked_once():
    ledger = FeedbackLedger(["vlm"])
    ledger.ask(0, 0, 0)
    ledger.ask(0, 0, 0)
    assert ledger.outstanding(0) == 1
    ledger.take(feedback(0))
    ledger.ask(0, 0, 0)
    assert ledger.outstanding(0) == 0


def test_a_row_that_was_not_acted_on_was_not_asked_about():
    ledger = FeedbackLedger(["vlm", "clip"])
    ledger.ask(0, 0, 0)
    ledger.withdraw(0, 0, 0)
    ledger.withdraw(0, 0, 0)
    assert ledger.pending == ledger.outstanding(0) == 0
    assert ledger.figures()["vlm"]["asked"] == 0


def test_a_lost_session_ends_everything_as_restarted():
    ledger = FeedbackLedger(["vlm", "clip"])
    for step in range(3):
        ledger.ask(0, 0, step)
    ledger.take(feedback(1))
    ended = ledger.restarted()
    assert len(ended) == 5 and {settled.reason for settled in ended} == {"RESTARTED"}
    assert ledger.pending == ledger.outstanding(0) == 0
    assert ledger.restarted() == []
    assert ledger.take(feedback(0)) is None  # an answer of the session before
    assert ledger.figures()["vlm"]["unavailable"] == {"RESTARTED": 2}


def test_what_the_server_never_answers_ends_here():
    now = [100.0]
    ledger = FeedbackLedger(["vlm"], give_up_s=10.0, clock=lambda: now[0])
    ledger.ask(0, 0, 0)
    now[0] = 105.0
    ledger.ask(0, 0, 1)
    assert ledger.expire() == []
    now[0] = 111.0
    (ended,) = ledger.expire()
    assert ended.key.step == 0 and ended.reason == "TIMED_OUT" and "10 s" in ended.feedback.unavailable.detail
    assert ledger.outstanding(0) == 1
    assert ledger.take(feedback(0)) is None and ledger.duplicates == 1


def test_figures_are_json_and_say_nothing_before_there_is_something():
    ledger = FeedbackLedger(["vlm"])
    ledger.ask(0, 0, 0)
    empty = ledger.figures()["vlm"]
    assert json.loads(json.dumps(empty)) == empty
    assert (empty["asked"], empty["pending"], empty["availability"], empty["age_steps_p50"]) == (
        1,
        1,
        None,
        None,
    )
    for step in range(1, 101):
        ledger.ask(0, 0, step)
        for _ in range(step):
            ledger.step(0)
        ledger.take(feedback(step, reason=TIMED_OUT if step % 4 == 0 else 0))
    figures = ledger.figures()["vlm"]
    assert (figures["asked"], figures["values"], figures["pending"]) == (101, 75, 1)
    assert figures["availability"] == 0.75
    assert figures["unavailable"] == {"TIMED_OUT": 25}
    assert figures["age_steps_p50"] == pytest.approx(50, abs=1) and figures["age_steps_max"] == 99


def test_a_reason_of_a_later_release_is_its_number():
    assert reason_name(TIMED_OUT) == "TIMED_OUT"
    assert reason_name(99) == "99"


def test_memory_stays_bounded():
    ledger = FeedbackLedger(["vlm"])
    for step in range(RECENT_KEYS + 100):
        ledger.ask(0, 0, step)
        ledger.take(feedback(step))
    assert len(ledger._recent) == RECENT_KEYS


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "take", "late", "withdraw", "restart"]),
            st.integers(0, 1),
            st.integers(0, 3),
            st.sampled_from(["vlm", "clip", "stranger"]),
        )
    )
)
def test_whatever_happens_each_asked_answer_ends_at_most_once(events):
    ledger, ended = FeedbackLedger(["vlm", "clip"]), []
    for what, env, step, coach in events:
        if what == "ask":
            ledger.ask(env, 0, step)
        elif what == "withdraw":
            ledger.withdraw(env, 0, step)
        elif what == "restart":
            ended += [settled.key for settled in ledger.restarted()]
        else:
            settled = ledger.take(feedback(step, coach, env, reason=TIMED_OUT if what == "late" else 0))
            ended += [settled.key] if settled else []
    assert len(ended) == len(set(ended))
    assert ledger.outstanding(0) + ledger.outstanding(1) == ledger.pending >= 0
    assert sum(account.ended for account in ledger.accounts.values()) == len(ended)
