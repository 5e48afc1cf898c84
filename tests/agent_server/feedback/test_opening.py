"""OpenSession with coaches: what is granted, what is refused, and by which field."""

import pytest

from codriver.v1 import feedback_pb2

Selection, Rule = feedback_pb2.CoachSelection, feedback_pb2.FeedbackRule


def opened(stub, coached, **changes):
    return stub.OpenSession(coached.open_request(**changes), timeout=20)


def test_listed_coaches_are_granted_and_what_holds_is_echoed(begin, start, coached):
    stub = start.connect(begin())
    wanted = [
        Selection(coach="vlm", kind=coached.VLM, timeout_ms=1500, max_age_steps=40),
        Selection(coach="clip", kind=coached.CLIP),
    ]
    rule = Rule(every_k_steps=3, risky_ttc_s=2.5, changed_share=0.25)
    session = opened(stub, coached, coaches=wanted, feedback_rule=rule, feedback_credits_per_env=7)
    assert list(session.coaches) == [
        wanted[0],
        Selection(coach="clip", kind=coached.CLIP, timeout_ms=60_000),
    ]
    assert session.feedback_rule == rule and session.feedback_credits_per_env == 7


def test_what_is_out_of_range_is_clamped(begin, start, coached):
    wanted = [
        Selection(coach="vlm", kind=coached.VLM, timeout_ms=1, max_age_steps=1 << 60),
        Selection(coach="clip", kind=coached.CLIP, timeout_ms=0xFFFFFFFF),
    ]
    vlm, clip = opened(start.connect(begin()), coached, coaches=wanted).coaches
    assert (vlm.timeout_ms, vlm.max_age_steps) == (10, 1_000_000)
    assert (clip.timeout_ms, clip.max_age_steps) == (600_000, 0)


def test_unknown_coaches_and_other_kinds_are_not_granted(begin, start, coached):
    stub = start.connect(begin())
    others = [Selection(coach="oracle", kind=coached.VLM), Selection(coach="clip", kind=coached.VLM)]
    session = opened(stub, coached, coaches=[*others, coached.VLM_COACH])
    assert [coach.coach for coach in session.coaches] == ["vlm"]
    session = opened(stub, coached, coaches=others)
    assert not session.coaches and not session.HasField("feedback_rule")
    assert session.feedback_credits_per_env == 0


def test_a_service_that_is_away_may_come_later(begin, start, coached, tmp_path):
    server = begin(f"unix:{tmp_path}/nobody", wait=False)
    assert [coach.coach for coach in opened(start.connect(server), coached).coaches] == ["vlm"]


def test_no_coaches_wanted_is_no_feedback(begin, start, coached, kit):
    session = start.connect(begin()).OpenSession(kit.open_request(), timeout=20)
    assert not session.coaches and not session.HasField("feedback_rule")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("feedback_rule", {"feedback_rule": None}),
        ("feedback_rule.risky_ttc_s", {"feedback_rule": Rule(risky_ttc_s=float("nan"))}),
        ("feedback_rule.risky_ttc_s", {"feedback_rule": Rule(risky_ttc_s=-1)}),
        ("feedback_rule.changed_share", {"feedback_rule": Rule(changed_share=1.5)}),
        ("coaches[0].coach", {"coaches": [Selection(kind=1)]}),
        ("coaches[0].coach", {"coaches": [Selection(coach="x" * 65, kind=1)]}),
        ("coaches[1].coach", {"coaches": [Selection(coach="vlm", kind=1)] * 2}),
        ("coaches[0].kind", {"coaches": [Selection(coach="vlm")]}),
        ("coaches[0].kind", {"coaches": [Selection(coach="vlm", kind=99)]}),
        ("coaches", {"coaches": [Selection(coach=f"c{i}", kind=1) for i in range(9)]}),
    ],
)
def test_refusals_name_the_field(begin, start, coached, kit, field, changes):
    stub = start.connect(begin(wait=False))
    status, _, error = kit.failure(stub.OpenSession, coached.open_request(**changes), timeout=20)
    assert status == "INVALID_ARGUMENT" and error.field == field


def test_coaches_need_a_picture(begin, start, coached, kit):
    stub = start.connect(begin())
    status, _, error = kit.failure(stub.OpenSession, coached.open_request(observation_spec=kit.SPEC))
    assert (status, error.field) == ("INVALID_ARGUMENT", "observation_spec.tensors")
    small = kit.observation_pb2.ObservationSpec(tensors=[kit.MASKS, kit.STATE, kit.PICTURE])
    status, _, error = kit.failure(stub.OpenSession, coached.open_request(observation_spec=small))
    assert error.field == "observation_spec.tensors[2].shape" and "192 x 192 x 3" in str(error)
