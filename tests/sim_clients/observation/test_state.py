"""The state vector, item by item."""

from dataclasses import replace

import numpy as np
import pytest

from codriver.driving import STATE_ITEMS
from sim_clients.observation.state import state_vector
from sim_clients.rules.lights import LightAhead
from sim_clients.rules.stop_signs import StopSignState
from sim_clients.scene import Control, LightColour
from tests.sim_clients.observation.helpers import NO_STOP, SIGN
from tests.sim_clients.scenes import ego

ITEM = {name: number for number, name in enumerate(STATE_ITEMS)}


def state_of(car=None, light=None, stop=NO_STOP):
    state = state_vector(car or ego(), light, stop)
    assert state.shape == (len(STATE_ITEMS),) and state.dtype == np.float32
    return {name: float(state[number]) for name, number in ITEM.items()}


def test_nothing_around():
    state = state_of(replace(ego(), control=Control(0.25, -0.5, 0.75), gear=3))
    assert [state[name] for name in ("throttle", "steer", "brake")] == [0.25, -0.5, 0.75]
    assert state["gear_fifth"] == pytest.approx(0.6)
    assert state["light_state"] == 0
    assert state["light_distance_ratio"] == state["light_phase_remaining"] == -1
    assert state["at_stop_sign"] == 0


def test_velocity_is_in_the_ego_frame_left_positive():
    # Heading north and moving 3 m/s north and 1 m/s east: ahead 3, to the right 1.
    state = state_of(replace(ego(yaw=np.pi / 2), velocity=np.array([1.0, 3.0])))
    assert state["velocity_x_mps"] == pytest.approx(3.0)
    assert state["velocity_y_mps"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("colour", "code", "distance", "ratio"),
    [
        (LightColour.RED, 1, 18.0, 1.0),
        (LightColour.RED, 1, 10.0, 1.0),
        (LightColour.RED, 1, 7.5, 0.5),
        (LightColour.YELLOW, 2, 6.0, 0.2),
        (LightColour.YELLOW, 2, 5.0, 0.0),
        (LightColour.RED, 1, 1.0, 0.0),
        (LightColour.GREEN, 3, 7.5, -1.0),
    ],
)
def test_light(colour, code, distance, ratio):
    state = state_of(light=LightAhead(0, colour, distance, 0.3))
    assert state["light_state"] == code
    assert state["light_distance_ratio"] == pytest.approx(ratio)
    assert state["light_phase_remaining"] == pytest.approx(0.3)


def test_light_that_is_off_is_no_light():
    assert state_of(light=LightAhead(0, LightColour.NONE, 5.0, 0.3)) == state_of()


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (StopSignState(SIGN, False, 10.0, False), 1),
        (StopSignState(SIGN, False, 10.1, False), 0),
        (StopSignState(SIGN, True, 3.0, False), 0),
        (NO_STOP, 0),
    ],
)
def test_stop_sign(stop, expected):
    assert state_of(stop=stop)["at_stop_sign"] == expected
