"""What is kept of a recorded episode."""

import pytest

from sim_clients.drive.recorder import kept_rows
from sim_clients.termination import EndReason


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (EndReason.ROUTE_COMPLETED, 1000),
        (EndReason.TIMEOUT, 1000),
        (EndReason.STEP_LIMIT, 1000),
        (EndReason.COLLISION_VEHICLE, 700),
        (EndReason.RED_LIGHT, 700),
        (EndReason.BLOCKED, 400),
        (EndReason.ROUTE_LEFT, 0),
    ],
)
def test_what_led_to_a_violation_is_cut(end, kept):
    assert kept_rows(1000, end) == kept


def test_an_early_violation_leaves_nothing():
    assert kept_rows(120, EndReason.COLLISION_WALKER) == 0
