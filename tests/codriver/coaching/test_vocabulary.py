"""The words for driving, against the tables of the paper, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codriver.coaching import vocabulary as v
from codriver.v1 import observation_pb2

pytestmark = pytest.mark.compat


def test_captions_letter_by_letter():
    captions = v.all_captions()
    assert len(captions) == len(set(captions)) == 720
    assert captions[0] == (
        "Command is to turn left at the intersection. The car is currently stopped. "
        "Action behavior: The car is braking hard and going straight."
    )
    # ((3 * 4 + 2) * 6 + 3) * 5 + 4
    assert captions[439] == (
        "Command is to follow the current lane. The car is driving at a moderate speed. "
        "Action behavior: The car is accelerating and turning left."
    )
    assert captions[719] == (
        "Command is to change to the right lane. The car is driving at a high speed. "
        "Action behavior: The car is idling and turning left."
    )


def test_index_of_a_caption():
    captions = v.all_captions()
    for command in range(6):
        for speed in range(4):
            context = v.context_index(command, speed)
            assert v.context_captions(context) == captions[context * 30 : context * 30 + 30]
            for longitudinal in range(6):
                for lateral in range(5):
                    index = ((command * 4 + speed) * 6 + longitudinal) * 5 + lateral
                    assert captions[index] == v.caption(command, speed, longitudinal, lateral)


def test_commands_of_the_contract():
    wanted = {
        observation_pb2.ROUTE_COMMAND_LEFT: 0,
        observation_pb2.ROUTE_COMMAND_RIGHT: 1,
        observation_pb2.ROUTE_COMMAND_STRAIGHT: 2,
        observation_pb2.ROUTE_COMMAND_LANE_FOLLOW: 3,
        observation_pb2.ROUTE_COMMAND_CHANGE_LANE_LEFT: 4,
        observation_pb2.ROUTE_COMMAND_CHANGE_LANE_RIGHT: 5,
        observation_pb2.ROUTE_COMMAND_UNSPECIFIED: 3,
        7: 3,
        -1: 3,
    }
    for command, index in wanted.items():
        assert v.command_index(command) == index
    assert v.command_index(np.array(list(wanted))).tolist() == list(wanted.values())


@pytest.mark.parametrize(
    ("speed", "index"),
    [
        *[(-3.0, 0), (0.0, 0), (0.0999, 0), (0.1, 1), (1.999, 1), (2.0, 2)],
        *[(4.499, 2), (4.5, 3), (30.0, 3)],
    ],
)
def test_speed_bins(speed, index):
    assert v.speed_index(speed) == index
    assert v.speed_index(np.array([speed, speed], np.float32)).tolist() == [index, index]


@pytest.mark.parametrize(
    ("throttle", "brake", "word"),
    [
        # Table 11 from the top; each bound belongs to the class below it
        *[(0.0, 1.0, "braking hard"), (0.0, 0.51, "braking hard"), (0.0, 0.5, "braking")],
        *[
            (0.0, 0.06, "braking"),
            (0.0, 0.05, "idling"),
            (0.9, 0.06, "braking"),
            (0.9, 0.05, "accelerating fast"),
        ],
        *[(1.0, 0.0, "accelerating fast"), (0.81, 0.0, "accelerating fast"), (0.8, 0.0, "accelerating")],
        *[(0.31, 0.0, "accelerating"), (0.3, 0.0, "accelerating gently"), (0.06, 0.0, "accelerating gently")],
        *[(0.05, 0.0, "idling"), (0.0, 0.0, "idling")],
    ],
)
def test_throttle_and_brake(throttle, brake, word):
    for dtype in (np.float32, np.float64):
        assert v.LONGITUDINAL[v.longitudinal_index(np.array([throttle, 0.0, brake], dtype))] == word


@pytest.mark.parametrize(
    ("steer", "word"),
    [
        # the last row of Table 11 is misprinted; at 0.05 the car turns, at 0.3 gently
        *[(0.0, "going straight"), (0.049, "going straight"), (-0.049, "going straight")],
        *[(0.05, "turning right"), (0.3, "turning right"), (0.301, "turning right sharply")],
        *[(1.0, "turning right sharply"), (-0.05, "turning left"), (-0.3, "turning left")],
        *[(-0.301, "turning left sharply"), (-1.0, "turning left sharply")],
    ],
)
def test_steering(steer, word):
    for dtype in (np.float32, np.float64):
        assert v.LATERAL[v.lateral_index(np.array([0.0, steer, 0.0], dtype))] == word


def test_neighbours_by_hand():
    near = {
        "braking hard": {"braking"},
        "braking": {"braking hard"},
        "accelerating fast": {"accelerating"},
        "accelerating": {"accelerating fast", "accelerating gently"},
        "accelerating gently": {"accelerating"},
        "idling": set(),
    }
    beside = {
        "going straight": set(),
        "turning right sharply": {"turning right"},
        "turning right": {"turning right sharply"},
        "turning left sharply": {"turning left"},
        "turning left": {"turning left sharply"},
    }
    for i, lon in enumerate(v.LONGITUDINAL):
        for j, lat in enumerate(v.LATERAL):
            wanted = {(a, b) for a in near[lon] | {lon} for b in beside[lat] | {lat}}
            found = {(v.LONGITUDINAL[k // 5], v.LATERAL[k % 5]) for k in np.flatnonzero(v.NEAR[i * 5 + j])}
            assert found == wanted


def test_how_many_neighbours():
    sizes = v.NEAR.sum(axis=1)
    assert sizes.min() == 1 and sizes.max() == 6
    assert (
        round(float(30 - sizes.mean()), 1) == 26.4
    )  # negatives on average, as measured for the paper's sets
    assert (v.NEAR == v.NEAR.T).all() and v.NEAR.diagonal().all()


unit = st.floats(0, 1, width=32)


@given(throttle=unit, steer=st.floats(-1, 1, width=32), brake=unit)
def test_any_control_has_one_anchor(throttle, steer, brake):
    control = np.array([throttle, steer, brake], np.float32)
    anchor = int(v.anchor_index(control))
    assert 0 <= anchor < 30
    assert anchor == int(v.longitudinal_index(control)) * 5 + int(v.lateral_index(control))
    mirrored = int(v.lateral_index(control * np.array([1, -1, 1], np.float32)))
    assert mirrored == (0, 3, 4, 1, 2)[anchor % 5]  # left and right are alike
    assert v.anchor_index(np.stack([control, control])).tolist() == [anchor, anchor]
