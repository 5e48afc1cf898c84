"""Episodes that were cut away entirely are not driven again, unless something about the run is different."""

import pytest

from codriver.dataset import DatasetError
from sim_clients.collect.command import missing_tasks
from sim_clients.collect.dropped import FILE_NAME, DroppedEpisodes
from sim_clients.drive.recorder import episode_id
from sim_clients.drive.tasks import TaskList

ORIGIN = {"simulator": "sumo", "town": "alder", "driver": "expert", "steer_noise": 0.25}


def test_a_resumed_run_passes_over_them(tmp_path):
    tasks = TaskList(3, 5)
    gone = episode_id(tasks.task(2))
    DroppedEpisodes(tmp_path, ORIGIN).add(gone)
    again = DroppedEpisodes(tmp_path, ORIGIN)
    assert gone in again
    left = list(missing_tasks(tasks, tmp_path, ORIGIN, again))
    assert [task.route_seed - 3 * 100_003 for task in left] == [0, 1, 3, 4]
    assert len(list(missing_tasks(tasks, tmp_path, ORIGIN))) == 5


def test_another_driver_may_do_better(tmp_path):
    DroppedEpisodes(tmp_path, ORIGIN).add("route-1-traffic-1")
    assert "route-1-traffic-1" not in DroppedEpisodes(tmp_path, {**ORIGIN, "driver": "policy"})
    assert "route-1-traffic-1" not in DroppedEpisodes(tmp_path, {**ORIGIN, "steer_noise": 0.0})


def test_a_damaged_line_is_named(tmp_path):
    DroppedEpisodes(tmp_path, ORIGIN).add("route-1-traffic-1")
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write("{half a li")
    with pytest.raises(DatasetError, match="line 2"):
        DroppedEpisodes(tmp_path, ORIGIN)
