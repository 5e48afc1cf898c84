"""Who brakes for the ego: vehicles whose braking distance ends in it, and nobody else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from codriver.driving import to_control
from sim_clients.expert import BlindDriver
from sim_clients.geometry import overlaps
from sim_clients.rules.monitor import RuleMonitor
from sim_clients.scene import Actors, Control
from sim_clients.simulator import EpisodeTask
from sim_clients.sumo import SumoSimulator
from sim_clients.sumo.courtesy import would_hit
from tests.sim_clients.scenes import ego


def vehicle(x, y, yaw, speed):
    forward = np.array([[math.cos(yaw), math.sin(yaw)]])
    return Actors(np.array([7]), np.array([[x, y, yaw]]), np.array([[2.3, 0.95]]), speed * forward)


@pytest.mark.parametrize(
    ("car", "brakes"),
    [
        (vehicle(-8.0, 0.0, 0.0, 6.0), True),  # comes from behind: 3.25 m free, 6 m to stop
        (vehicle(-18.0, 0.0, 0.0, 6.0), False),  # far enough behind
        (vehicle(0.0, -8.0, math.pi / 2, 6.0), True),  # into the flank
        (vehicle(0.0, -8.0, -math.pi / 2, 6.0), False),  # drives away
        (vehicle(-8.0, 3.5, 0.0, 10.0), False),  # the next lane
        (vehicle(9.0, 3.5, math.pi, 10.0), False),  # oncoming
        (vehicle(-8.0, 0.0, 0.0, 0.0), False),  # stands
    ],
)
def test_who_brakes_for_a_standing_ego(car, brakes):
    assert would_hit(ego(0.0), car).tolist() == [brakes]


def test_nobody_brakes_for_an_ego_that_drives_ahead_as_fast():
    assert would_hit(ego(0.0, speed=6.0), vehicle(-8.0, 0.0, 0.0, 6.0)).tolist() == [False]


def test_an_ego_that_stands_across_the_lanes_of_a_junction_is_not_driven_into():
    simulator = SumoSimulator("birch")
    try:
        scene = simulator.reset(EpisodeTask(2, 2, vehicles=60, walkers=5, min_route_m=100.0, min_signals=0))
        rules, driver = RuleMonitor(simulator.map), BlindDriver(simulator.map)
        rules.reset(scene)
        driver.reset(scene)
        inside_m, stood_s, touched = 0.0, 0.0, False
        for _ in range(500):
            report = rules.update(scene)
            action = driver.act(scene, report)
            if report.lane is not None and simulator.map.lanes[report.lane.lane_id].in_junction:
                inside_m += scene.ego.speed_mps * 0.1
            if inside_m > 7.0:
                action = np.array([-1.0, 0.0], np.float32)
            scene = simulator.step(Control(*(float(value) for value in to_control(action))))
            if scene.ego.speed_mps < 0.1 and inside_m > 7.0:
                stood_s += 0.1
                pose = (scene.ego.x, scene.ego.y, scene.ego.yaw)
                half = (scene.ego.half_length_m, scene.ego.half_width_m)
                touched |= bool(overlaps(pose, half, scene.vehicles.pose, scene.vehicles.half_extent).any())
        assert stood_s > 20.0
        assert not touched
    finally:
        simulator.close()
