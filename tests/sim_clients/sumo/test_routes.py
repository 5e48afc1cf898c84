"""Routes: long enough, with signals, on lanes, smooth, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from sim_clients.scene import Command, Route, SceneMap
from sim_clients.simulator import EpisodeTask, SimulatorError
from sim_clients.sumo.graph import RoadGraph
from sim_clients.sumo.net import read_net
from sim_clients.sumo.routes import RoutePlanner
from sim_clients.sumo.scene_map import read_map


def planner(town: str) -> RoutePlanner:
    return RoutePlanner(read_map(town), RoadGraph.of(read_net(town), read_map(town)))


def plan(town: str, seed: int, **demands: object) -> Route:
    route = planner(town).plan(EpisodeTask(seed, 0, **demands)).route  # type: ignore[arg-type]
    assert route is not None
    return route


def passed_signals(route: Route, scene_map: SceneMap) -> int:
    lines = {line.lane_id for line in scene_map.stop_lines}
    lanes = [lane for lane, after in zip(route.lane_ids, route.lane_ids[1:], strict=False) if lane != after]
    return sum(lane in lines for lane in lanes)


@pytest.mark.parametrize("town", ["alder", "birch"])
def test_routes_meet_their_demands(town: str) -> None:
    scene_map, starts, commands = read_map(town), set(), set()
    for seed in range(40):
        route = plan(town, seed)
        assert route.length_m >= 500.0
        assert passed_signals(route, scene_map) >= 2
        steps = np.linalg.norm(np.diff(route.points, axis=0), axis=1)
        assert steps.max() <= 1.05
        turns = np.abs((np.diff(route.yaws_rad) + np.pi) % (2 * np.pi) - np.pi)
        assert turns.max() < 0.35, f"seed {seed}: a kink of {turns.max():.2f} rad"
        assert len(route.points) == len(route.lane_ids) == len(route.commands) == len(route.yaws_rad)
        starts.add(tuple(route.points[0]))
        commands |= set(route.commands.tolist())
    assert len(starts) == 40
    assert commands == {int(command) for command in Command}


@pytest.mark.parametrize("town", ["alder", "birch"])
def test_points_lie_on_their_lanes_except_on_lane_changes(town: str) -> None:
    scene_map = read_map(town)
    for seed in range(10):
        route = plan(town, seed)
        for point, lane, command in zip(route.points, route.lane_ids, route.commands, strict=True):
            centre = scene_map.lanes[lane].centre
            a, b = centre[:-1], centre[1:]
            share = np.clip(((point - a) * (b - a)).sum(1) / ((b - a) ** 2).sum(1), 0, 1)[:, None]
            off = np.linalg.norm(a + share * (b - a) - point, axis=1).min()
            changing = command in (Command.CHANGE_LANE_LEFT, Command.CHANGE_LANE_RIGHT)
            assert off < (2.0 if changing else 0.2)


def test_commands_are_announced_ten_metres_ahead() -> None:
    route = plan("alder", 0)
    scene_map = read_map("alder")
    junction = np.array([scene_map.lanes[lane].in_junction for lane in route.lane_ids])
    entries = np.flatnonzero(junction[1:] & ~junction[:-1]) + 1
    assert len(entries)
    for entry in entries:
        assert route.commands[entry] in (Command.LEFT, Command.RIGHT, Command.STRAIGHT)
        assert (route.commands[entry - 9 : entry] == route.commands[entry]).all()
    free = np.flatnonzero(route.commands == Command.LANE_FOLLOW)
    assert not junction[free].any()


def test_turn_commands_have_the_right_sign() -> None:
    for seed in range(10):
        route = plan("birch", seed)
        scene_map = read_map("birch")
        junction = np.array([scene_map.lanes[lane].in_junction for lane in route.lane_ids])
        edges = np.flatnonzero(np.diff(junction.astype(int)))
        for begin, end in zip(edges[::2], edges[1::2], strict=False):
            turn = (route.yaws_rad[end] - route.yaws_rad[begin] + np.pi) % (2 * np.pi) - np.pi
            command = route.commands[end - 1]
            if command == Command.LEFT:
                assert turn > 0.3
            elif command == Command.RIGHT:
                assert turn < -0.3


def test_the_seed_decides_the_route() -> None:
    one, same, other = plan("alder", 7), plan("alder", 7), plan("alder", 8)
    np.testing.assert_array_equal(one.points, same.points)
    assert one.lane_ids == same.lane_ids
    assert one.points.shape != other.points.shape or not np.allclose(one.points, other.points)


def test_an_endless_route_grows_and_keeps_its_beginning() -> None:
    routes = planner("birch")
    growing = routes.plan(EpisodeTask(3, 0, endless=True))
    before = growing.route
    assert before is not None and before.length_m >= 1000.0
    routes.extend(growing)
    after = growing.route
    assert after is not None and after.length_m > before.length_m + 50.0
    count = len(before.points)
    np.testing.assert_array_equal(after.points[:count], before.points)
    np.testing.assert_array_equal(after.yaws_rad[:count], before.yaws_rad)
    np.testing.assert_array_equal(after.commands[:count], before.commands)
    assert after.lane_ids[:count] == before.lane_ids
    assert np.linalg.norm(np.diff(after.points, axis=0), axis=1).max() <= 1.05


def test_long_routes_chain_several_goals() -> None:
    assert plan("alder", 1, min_route_m=2500.0).length_m >= 2500.0


def test_an_impossible_demand_is_refused() -> None:
    with pytest.raises(SimulatorError, match=r"no route of 500 m with 99 signals in acorn"):
        plan("acorn", 0, min_signals=99)
