"""Key rules, against a plain model: whatever is sent, what is accepted makes well-formed episodes."""

from hypothesis import given
from hypothesis import strategies as st

from agent_server.sessions.keys import FINAL, FIRST, MID, EnvRecord, Order, judge
from agent_server.sessions.outcomes import Refusal

KEYS = st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([FIRST, MID, *FINAL, 0, 9]))


class Message:
    """Stands for an exchange: records only keep a reference."""


@given(st.lists(KEYS, max_size=60))
def test_accepted_keys_make_well_formed_episodes(keys):
    record, accepted = EnvRecord(), []
    for episode, step, kind in keys:
        verdict = judge(record, episode, step, kind)
        if verdict is Order.NEXT:
            record.advance(episode, step, kind, Message(), 0)
            accepted.append((episode, step, kind))
        elif verdict is Order.REPEATED:
            assert (episode, step) == accepted[-1][:2]
        else:
            assert isinstance(verdict, Refusal) and verdict.detail and verdict.reason
    assert [key[:2] for key in accepted] == sorted({key[:2] for key in accepted})
    for before, after in zip([None, *accepted], accepted):
        if after[2] == FIRST:
            assert after[1] == 0
        else:
            assert before is not None and before[2] not in FINAL
            assert after[:2] == (before[0], before[1] + 1)


@given(st.lists(KEYS, max_size=30), st.integers(4, 9))
def test_a_higher_episode_can_always_start(keys, episode):
    record = EnvRecord()
    for key in keys:
        if judge(record, *key) is Order.NEXT:
            record.advance(*key, Message(), 0)
    assert judge(record, episode, 0, FIRST) is Order.NEXT


def test_what_came_before_is_kept_within_an_episode_only():
    record, first, second, third = EnvRecord(), Message(), Message(), Message()
    record.advance(0, 0, FIRST, first, 2)
    assert record.before is None
    record.advance(0, 1, MID, second, 1)
    assert record.before == (first, 2)
    record.advance(0, 1, MID, third, 0)  # the same key again, after an error
    assert record.before == (first, 2) and record.exchange is third
    record.advance(1, 0, FIRST, second, 0)
    assert record.before is None
