"""Every reward term, computed by hand."""

import pytest

from sim_clients.reward import RewardTerms, desired_speed, reward
from sim_clients.rules.collisions import Hit, HitKind
from sim_clients.rules.hazards import Hazard
from sim_clients.scene import Control, LightColour
from tests.sim_clients.reports import light, progress, report, stop
from tests.sim_clients.scenes import ego, scene

STRAIGHT = Control()


def terms(
    speed=6.0, previous=STRAIGHT, control=STRAIGHT, terminal=False, pixel=False, **changes
) -> RewardTerms:
    return reward(scene(ego(speed=speed, control=control)), report(**changes), previous, terminal, pixel)


def test_perfect_driving_earns_one():
    assert terms() == (1.0, 0.0, 0.0, 0.0, 0.0)
    assert terms().total == 1.0


@pytest.mark.parametrize(
    ("speed", "value"), [(0.0, 0.0), (3.0, 0.5), (6.0, 1.0), (7.5, 0.75), (13.0, -1 / 6)]
)
def test_speed(speed, value):
    assert terms(speed).speed == pytest.approx(value)


@pytest.mark.parametrize(
    ("changes", "speed"),
    [
        ({"vehicle_ahead": Hazard(0, 8.0, 0.0)}, 0.0),
        ({"vehicle_ahead": Hazard(0, 9.0, 0.0)}, 1.2),
        ({"walker_ahead": Hazard(0, 8.5, 0.0)}, 3.0),
        ({"walker_ahead": Hazard(0, 5.0, 0.0)}, 0.0),
        ({"light": light(LightColour.RED, 7.5)}, 3.0),
        ({"light": light(LightColour.YELLOW, 10.0)}, 6.0),
        ({"light": light(LightColour.YELLOW, 6.0)}, 1.2),
        ({"light": light(LightColour.GREEN, 6.0)}, 6.0),
        ({"light": light(LightColour.RED, 19.0)}, 6.0),
        ({"stop": stop(6.0)}, 1.2),
        ({"stop": stop(6.0, satisfied=True)}, 6.0),
        (
            {"stop": stop(6.0), "light": light(LightColour.RED, 7.5), "vehicle_ahead": Hazard(0, 8.5, 0.0)},
            0.6,
        ),
    ],
)
def test_desired_speed(changes, speed):
    assert desired_speed(report(**changes)) == pytest.approx(speed)


def test_standing_where_one_must_stand_earns_one():
    assert terms(0.0, light=light(LightColour.RED, 4.0)).speed == 1.0
    assert terms(3.0, light=light(LightColour.RED, 4.0)).speed == pytest.approx(0.5)


@pytest.mark.parametrize("lateral", [1.2, -1.2])
def test_position(lateral):
    assert terms(progress=progress(lateral_m=lateral)).position == pytest.approx(-0.6)


@pytest.mark.parametrize("error", [0.3, -0.3])
def test_rotation(error):
    assert terms(progress=progress(heading_error_rad=error)).rotation == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("before", "now", "value"), [(0.1, 0.109, 0.0), (0.1, 0.12, -0.1), (0.1, 0.08, -0.1)]
)
def test_action(before, now, value):
    assert terms(previous=Control(steer=before), control=Control(steer=now)).action == value


HIT = (Hit(HitKind.VEHICLE, 1, True),)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"terminal": True}, -1.0),
        ({"terminal": True, "ran_red": True}, -5.0),
        ({"terminal": True, "ran_stop": True}, -5.0),
        ({"terminal": True, "hits": HIT}, -5.0),
        ({"terminal": True, "pixel": True}, -5.0),
        ({"terminal": True, "hits": HIT, "ran_red": True}, -5.0),
        ({"ran_red": True}, 0.0),
    ],
)
def test_terminal(changes, value):
    assert terms(4.0, **changes).terminal == value


def test_total_of_all_terms():
    # 1 - |4 - 6| / 6 = 0.6667; -0.5 * 0.4; -0.1; -0.1; -1 - 4
    found = terms(
        4.0,
        control=Control(steer=0.5),
        terminal=True,
        hits=HIT,
        progress=progress(lateral_m=-0.4, heading_error_rad=0.1),
    )
    assert found.total == pytest.approx(0.66666667 - 0.2 - 0.1 - 0.1 - 5.0)
