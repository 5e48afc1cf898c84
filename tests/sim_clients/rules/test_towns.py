"""The rules on the towns that ship: along whole routes they must find what the map and the route say."""

import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pytest

from sim_clients.rules.monitor import RuleMonitor, RuleReport
from sim_clients.scene import Actors, LightColour, Route, Scene, SceneMap
from sim_clients.simulator import EpisodeTask
from tests.sim_clients.scenes import ego

pytest.importorskip("sumolib")

from sim_clients.sumo.graph import RoadGraph
from sim_clients.sumo.net import read_net
from sim_clients.sumo.routes import RoutePlanner
from sim_clients.sumo.scene_map import read_map


@dataclass
class Drive:
    """A drive at 7 m/s, exactly along a route or beside it, all lights red."""

    map: SceneMap
    route: Route
    reports: list[RuleReport]


def drive(town: str, seed: int, left_m: float) -> Drive:
    town_map = read_map(town)
    task = EpisodeTask(seed, seed)
    route = RoutePlanner(town_map, RoadGraph.of(read_net(town), town_map)).plan(task).route
    red = np.full(len(town_map.stop_lines), LightColour.RED, np.uint8)
    monitor, reports = RuleMonitor(town_map), []
    at = np.arange(0.0, route.length_m, 0.7)
    x, y = (np.interp(at, route.distances_m, route.points[:, k]) for k in (0, 1))
    yaws = np.interp(at, route.distances_m, np.unwrap(route.yaws_rad))
    for step, (cx, cy, yaw) in enumerate(zip(x.tolist(), y.tolist(), yaws.tolist(), strict=True)):
        car = ego(cx - left_m * math.sin(yaw), cy + left_m * math.cos(yaw), yaw, 7.0)
        scene = Scene(
            map,
            route,
            step / 10,
            car,
            Actors.empty(),
            Actors.empty(),
            np.zeros(0, bool),
            red,
            np.ones(len(red)),
        )
        if step == 0:
            monitor.reset(scene)
        reports.append(monitor.update(scene))
    return Drive(town_map, route, reports)


def signals_on(map: SceneMap, route: Route) -> list[int]:
    """Stop lines that the route crosses: those at which it leaves their lane, in order."""
    lines = {line.lane_id: index for index, line in enumerate(map.stop_lines)}
    found, end = [], 0
    for lane_id, group in groupby(route.lane_ids):
        end += len(list(group))
        if lane_id in lines and end < len(route.points) - 6:
            line = map.stop_lines[lines[lane_id]]
            if np.hypot(*(route.points[end] - line.centre)) < 1.6:
                found.append(lines[lane_id])
    return found


def signs_on(map: SceneMap, route: Route) -> list[str]:
    """Stop signs through whose boxes the route goes."""
    found = []
    for sign in map.stop_signs:
        cos, sin = math.cos(sign.yaw_rad), math.sin(sign.yaw_rad)
        dx, dy = (route.points - sign.centre).T
        along, across = np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)
        inside = (along < sign.half_length_m) & (across < sign.half_width_m)
        if np.any(inside & (np.cos(route.yaws_rad - sign.yaw_rad) > 0)):
            found.append(sign.id)
    return found


@pytest.fixture(scope="module", params=[("birch", 1, 0.0), ("birch", 6, 0.5), ("alder", 1, -0.5)], ids=str)
def driven(request) -> Drive:
    return drive(*request.param)


def test_every_light_on_the_way_is_seen_and_run_in_order(driven):
    signals = signals_on(driven.map, driven.route)
    assert len(signals) >= 2
    seen = [report.light.index for report in driven.reports if report.light]
    # the last signal in sight may lie behind the goal
    assert [index for index, _ in groupby(seen)][: len(signals)] == signals
    assert sum(report.ran_red for report in driven.reports) == len(signals)


def test_every_stop_sign_on_the_way_is_run_once(driven):
    signs = signs_on(driven.map, driven.route)
    assert len(signs) >= 1
    assert sum(report.ran_stop for report in driven.reports) == len(signs)


def test_the_ego_is_on_its_lanes_all_the_way(driven):
    assert all(report.lane is not None for report in driven.reports)
    assert not any(report.outside_lane or report.wrong_lane for report in driven.reports)
    assert driven.reports[-1].progress.completed
