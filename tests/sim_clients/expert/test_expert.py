"""The expert on scripted scenes: what it must do in each, and how smoothly."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from sim_clients.expert import BlindDriver, Expert
from sim_clients.scene import Lane, LightColour
from tests.sim_clients.expert.world import column, drive, moving
from tests.sim_clients.scenes import MAP, actors, ego, line, quarter, route, scene

GREEN, YELLOW, RED = LightColour.GREEN, LightColour.YELLOW, LightColour.RED


def lights(colour):
    return {"light_colours": np.full(2, colour, np.uint8)}


def speed(step):
    return step.scene.ego.speed_mps


def x(step):
    return step.scene.ego.x


def test_the_open_road_is_driven_at_six_metres_a_second():
    steps = drive(Expert(MAP), scene(ego(10.0)), 12.0)
    speeds = column(steps, speed)
    assert speeds[-30:] == pytest.approx(6.0, abs=0.2)
    assert speeds.max() < 6.3
    assert np.abs(column(steps, lambda step: step.action[1])).max() < 0.01
    assert np.abs(column(steps, lambda step: step.scene.ego.acceleration[0])).max() < 2.6


def test_a_displaced_car_returns_to_the_route_without_overshoot():
    steps = drive(Expert(MAP), scene(ego(10.0, 1.2, 0.1, speed=5.0)), 8.0)
    y = column(steps, lambda step: step.scene.ego.y)
    assert abs(y[-1]) < 0.1
    assert y.min() > -0.3


def test_a_bend_is_taken_slowly_and_closely():
    points = np.concatenate(
        [np.column_stack([np.arange(20.0, 100.0), np.zeros(80)]), quarter(100, 0, 12, 19)]
    )
    points = np.concatenate([points, line(*((112.0, 12.0 + i) for i in range(1, 60)))])
    steps = drive(Expert(MAP), scene(ego(60.0, speed=6.0), route=route(points)), 15.0)
    assert np.abs(column(steps, lambda step: step.report.progress.lateral_m)).max() < 0.6
    on_bend = [speed(step) for step in steps if step.scene.ego.y > 1.0 and step.scene.ego.y < 11.0]
    assert min(on_bend) > 3.0
    assert max(on_bend) < 5.5
    assert steps[-1].scene.ego.y > 25.0


@pytest.mark.parametrize("initial", [0.0, 3.0, 6.0])
def test_a_standing_car_ahead_is_not_touched(initial):
    steps = drive(Expert(MAP), scene(ego(10.0, speed=initial), vehicles=actors((60.0, 0.2, 0.0))), 20.0)
    gap = 60.0 - 2.3 - 2.45 - x(steps[-1])
    assert 1.0 < gap < 3.5
    assert speed(steps[-1]) < 0.1
    assert column(steps, lambda step: step.scene.ego.acceleration[0]).min() > -4.0


def test_a_slower_car_is_followed():
    steps = drive(
        Expert(MAP),
        scene(ego(10.0, speed=6.0)),
        25.0,
        lambda t: {"vehicles": moving((40 + 3 * t, 0, 0, 3.0))},
    )
    assert speed(steps[-1]) == pytest.approx(3.0, abs=0.3)
    assert 2.0 < 40 + 3 * 24.9 - x(steps[-1]) - 4.75 < 9.0


def test_parked_and_oncoming_cars_beside_the_lane_are_passed():
    cars = moving((70, -2.6, 0, 0.0), (90, 3.5, math.pi, 8.0), first_id=1)
    steps = drive(
        Expert(MAP),
        scene(ego(10.0, speed=6.0)),
        12.0,
        lambda t: {"vehicles": replace(cars, pose=cars.pose + np.array([[0, 0, 0], [-8 * t, 0, 0]]))},
    )
    assert x(steps[-1]) > 75.0
    assert not any(step.report.hits for step in steps)


def test_it_waits_at_red_behind_the_line_and_goes_on_green():
    steps = drive(Expert(MAP), scene(ego(50.0, speed=6.0)), 40.0, lambda t: lights(RED if t < 20 else GREEN))
    waiting = steps[195]
    assert speed(waiting) < 0.05
    assert 0.3 < 98.0 - (x(waiting) + 2.45) < 2.5
    assert not any(step.report.ran_red for step in steps)
    assert x(steps[-1]) > 130.0


@pytest.mark.parametrize("start", [70.0, 78.0, 84.0, 88.0, 92.0])
def test_yellow_is_never_turned_into_a_red_light_run(start):
    steps = drive(Expert(MAP), scene(ego(start, speed=6.0)), 12.0, lambda t: lights(YELLOW if t < 3 else RED))
    assert not any(step.report.ran_red for step in steps)


def test_it_stops_at_the_stop_sign_and_goes_on():
    steps = drive(Expert(MAP), scene(ego(140.0, speed=6.0)), 30.0)
    assert not any(step.report.ran_stop for step in steps)
    assert any(step.report.stop.satisfied for step in steps)
    assert x(steps[-1]) > 215.0


def test_it_yields_to_a_pedestrian_who_crosses():
    def script(t):
        y = -6.0 + 1.3 * max(0.0, t - 2.0)
        walker = moving((55.0, y, math.pi / 2, 1.3 if t > 2.0 else 0.0), half=(0.25, 0.25))
        return {"walkers": walker, "walker_on_pavement": np.array([y < -2.0])}

    steps = drive(Expert(MAP), scene(ego(25.0, speed=6.0)), 20.0, script)
    assert not any(step.report.hits for step in steps)
    crossing = [step for step in steps if abs(float(step.scene.walkers.pose[0, 1])) < 1.5]
    assert max(x(step) for step in crossing) < 55.0 - 2.45 - 0.5
    assert x(steps[-1]) > 75.0


def test_it_does_not_drive_into_a_lane_that_is_taken():
    points = np.array([(i, 0.0) for i in range(40)] + [(40.0 + i, 0.35 * i) for i in range(11)])
    points = np.concatenate([points, [(51.0 + i, 3.5) for i in range(49)]])
    ids = ("west",) * 45 + ("pass",) * 55
    neighbours = [(18.0 - 9 * k, 3.5, 0.0, 7.0) for k in range(4)]

    def script(t):
        return {"vehicles": moving(*((x0 + v * t, y, yaw, v) for x0, y, yaw, v in neighbours))}

    steps = drive(Expert(MAP), scene(ego(20.0, speed=6.0), route=route(points, ids)), 20.0, script)
    assert not any(step.report.hits for step in steps)
    assert x(steps[-1]) > 60.0
    assert steps[-1].scene.ego.y > 3.0


def crossing_map():
    """The small map with a lane that crosses "east" at x = 250, in an open junction from 240 to 260."""
    lanes = dict(MAP.lanes)
    lanes["south"] = Lane("south", line((250, -100), (250, -10)), 3.5, False, 8.0, None, None, ("over",))
    lanes["over"] = Lane("over", line((250, -10), (250, 10)), 3.5, True, 8.0, None, None, ("up",))
    lanes["up"] = Lane("up", line((250, 10), (250, 100)), 3.5, False, 8.0, None, None, ())
    return replace(MAP, lanes=lanes, stop_signs=())


@pytest.mark.parametrize("distance", [20.0, 26.0, 30.0, 34.0, 40.0, 50.0])
def test_crossing_traffic_is_let_through(distance):
    town = crossing_map()
    steps = drive(
        Expert(town),
        scene(ego(215.0, speed=6.0), map=town),
        15.0,
        lambda t: {"vehicles": moving((250.0, -distance + 6 * t, math.pi / 2, 6.0))},
    )
    assert not any(step.report.hits for step in steps)
    assert x(steps[-1]) > 265.0


def test_the_blind_driver_sees_nothing():
    steps = drive(
        BlindDriver(MAP), scene(ego(60.0, speed=6.0), vehicles=actors((130.0, 0.0, 0.0)), **lights(RED)), 15.0
    )
    assert any(step.report.ran_red for step in steps)
    assert any(step.report.hits for step in steps)


def test_the_same_scene_gives_the_same_action():
    start = scene(ego(50.0, 0.3, 0.02, speed=5.0), vehicles=actors((75.0, 0.0, 0.0)))
    first = drive(Expert(MAP), start, 5.0)
    second = drive(Expert(MAP), start, 5.0)
    assert all(np.array_equal(a.action, b.action) for a, b in zip(first, second, strict=True))


def test_a_call_with_a_full_town_stays_within_a_few_milliseconds():
    rng = np.random.default_rng(1)
    cars = moving(
        *(
            (
                float(rng.uniform(0, 300)),
                float(rng.choice([3.5, 7.0])),
                float(rng.choice([0.0, math.pi])),
                5.0,
            )
            for _ in range(60)
        )
    )
    people = moving(
        *((float(rng.uniform(0, 300)), -4.0, 0.0, 1.2) for _ in range(40)), half=(0.25, 0.25), first_id=100
    )
    start = scene(ego(50.0, speed=5.0), vehicles=cars, walkers=people, walker_on_pavement=np.ones(40, bool))
    (step,) = drive(Expert(MAP), start, 0.1)
    expert = Expert(MAP)
    expert.reset(start)
    expert.act(step.scene, step.report)
    spent = time.process_time()
    for _ in range(100):
        expert.act(step.scene, step.report)
    assert (time.process_time() - spent) / 100 < 0.005
