"""Task lists."""

from itertools import islice

from sim_clients.drive.tasks import TaskList


def test_the_same_list_gives_the_same_tasks():
    first, second = TaskList(7, 20, traffic_spread=0.5), TaskList(7, 20, traffic_spread=0.5)
    assert list(first) == list(second)
    assert len({task.route_seed for task in first}) == 20


def test_neighbouring_seeds_share_no_route():
    first, second = ({task.route_seed for task in TaskList(seed, 1000)} for seed in (0, 1))
    assert not first & second


def test_an_endless_list_goes_on():
    assert len(list(islice(TaskList(0, None), 300))) == 300


def test_traffic_varies_within_the_spread():
    tasks = list(TaskList(1, 200, vehicles=60, walkers=40, traffic_spread=0.5))
    assert {30 <= task.vehicles <= 90 for task in tasks} == {True}
    assert min(task.vehicles for task in tasks) < 40 < 80 < max(task.vehicles for task in tasks)
    assert all(task.vehicles == 60 for task in TaskList(1, 20, vehicles=60))


def test_lists_ask_for_hard_resets():
    assert all(task.hard_reset for task in TaskList(2, 100))
