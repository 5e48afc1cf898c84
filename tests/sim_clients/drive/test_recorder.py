"""What is kept of a recorded episode."""

import numpy as np
import pytest

from codriver.dataset import Dataset, DatasetError
from sim_clients.drive.config import Recording
from sim_clients.drive.recorder import EpisodeRecorder, kept_rows
from sim_clients.environment import DrivingEnvironment
from sim_clients.simulator import EpisodeTask
from sim_clients.sumo import SumoSimulator
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


def recorded(directory, *, cut: bool, end: EndReason, task: EpisodeTask) -> bool:
    """Records 40 real steps of a tiny town and ends the episode for a reason."""
    simulator = SumoSimulator("acorn")
    recorder = EpisodeRecorder(Recording(str(directory), pictures=False, cut_violations=cut), 0)
    try:
        environment = DrivingEnvironment(simulator, "evaluate", max_steps=40)
        result = environment.reset(task)
        recorder.begin(task)
        action = np.zeros(2, np.float32)
        while not result.kind.last:
            following = environment.step(action)
            recorder.add(result, action, action, following)
            result = following
        return recorder.finish(end)
    finally:
        recorder.close()
        simulator.close()


def test_an_episode_is_stored_cut_away_or_refused(tmp_path):
    task = EpisodeTask(1, 1, vehicles=0, walkers=0, min_route_m=50.0, min_signals=0)
    early = EndReason.COLLISION_WALKER
    assert not recorded(tmp_path, cut=True, end=early, task=task)
    assert list(tmp_path.iterdir()) == []
    assert recorded(tmp_path, cut=False, end=early, task=task)
    assert Dataset(tmp_path).manifest.rows == 41
    with pytest.raises(DatasetError, match="stored already"):
        recorded(tmp_path, cut=False, end=early, task=task)
