"""Every end of an episode."""

import pytest

from sim_clients.rules.collisions import Hit, HitKind
from sim_clients.termination import EndReason, Termination
from tests.sim_clients.reports import progress, report
from tests.sim_clients.scenes import ego, scene


def end(mode="evaluate", pixel=False, time_s=0.0, **changes):
    return Termination(mode).update(scene(ego(speed=5.0), time_s=time_s), report(**changes), pixel)


@pytest.mark.parametrize("mode", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"hits": (Hit(HitKind.VEHICLE, 1, True),)}, EndReason.COLLISION_VEHICLE),
        ({"hits": (Hit(HitKind.WALKER, 1, True),)}, EndReason.COLLISION_WALKER),
        ({"hits": (Hit(HitKind.STATIC, 1, False),)}, EndReason.COLLISION_STATIC),
        ({"ran_red": True}, EndReason.RED_LIGHT),
        ({"ran_stop": True}, EndReason.STOP_SIGN),
        ({"progress": progress(completed=True)}, EndReason.ROUTE_COMPLETED),
        ({"ran_red": True, "progress": progress(completed=True)}, EndReason.RED_LIGHT),
    ],
)
def test_ends_of_both_modes(mode, changes, reason):
    assert end(mode, **changes) is reason


def test_pixel_collisions_end_training_only():
    assert end("train", pixel=True) is EndReason.PIXEL_COLLISION
    assert end("evaluate", pixel=True) is None


@pytest.mark.parametrize(("time_s", "reason"), [(1199.9, None), (1200.0, EndReason.TIMEOUT)])
def test_only_evaluation_has_a_timeout(time_s, reason):
    assert end("evaluate", time_s=time_s) is reason
    assert end("train", time_s=time_s) is None


def blocked(speeds):
    """Steps until the episode ends as blocked, driving at the speeds in turn."""
    termination = Termination("train")
    for step, speed in enumerate(speeds):
        reason = termination.update(scene(ego(speed=speed), time_s=step / 10), report(), False)
        if reason:
            assert reason is EndReason.BLOCKED
            return step
    return None


def test_blocked_after_more_than_ninety_seconds():
    assert blocked([0.0] * 1000) == 901
    assert blocked([5.0] * 100 + [0.09] * 1000) == 99 + 901
    assert blocked(([0.0] * 900 + [0.1]) * 3) is None


def left(laterals):
    termination = Termination("evaluate")
    reasons = [
        termination.update(
            scene(ego(speed=5.0), time_s=i / 10), report(progress=progress(lateral_m=m)), False
        )
        for i, m in enumerate(laterals)
    ]
    assert set(reasons) <= {None, EndReason.ROUTE_LEFT}
    return next((i for i, reason in enumerate(reasons) if reason), None)


@pytest.mark.parametrize(
    ("laterals", "step"),
    [
        ([0.0, 0.5, 1.0, 3.5], None),
        ([3.0, 3.3, 3.51], None),
        ([3.0, 3.3, 3.52], 2),
        ([-3.0, -3.3, -3.52], 2),
        ([3.0, 3.9], None),  # a jump of more than 0.8 m: the route moved, not the ego
        ([3.0, 3.9, 3.9, 3.8, 3.0], None),  # and the way back is allowed
        ([3.0, 3.9, 3.905, 3.92], 3),  # but not further away
        ([0.0, 0.7, 1.4, 2.1, 2.8, 3.5, 4.2], 6),
        ([5.0, 5.0], None),  # an episode may begin beside its route
        ([5.0, 5.02], 1),
    ],
)
def test_route_left(laterals, step):
    assert left(laterals) == step


def test_what_a_learner_bootstraps_from_and_what_is_punished():
    truncated = {reason for reason in EndReason if reason.truncated}
    assert truncated == {EndReason.TIMEOUT, EndReason.ROUTE_COMPLETED, EndReason.STEP_LIMIT, EndReason.FAILED}
    unpunished = {reason for reason in EndReason if not reason.punished}
    assert unpunished == {EndReason.ROUTE_COMPLETED, EndReason.STEP_LIMIT, EndReason.FAILED}


def test_unknown_mode():
    with pytest.raises(ValueError, match="unknown termination mode 'test'; use 'train' or 'evaluate'"):
        Termination("test")
