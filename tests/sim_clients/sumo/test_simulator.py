"""The SUMO simulator: traffic, pedestrians, lights, resets, reproducibility, errors."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from sim_clients.scene import Actors, Control, Ego, LightColour, Scene
from sim_clients.simulator import EpisodeTask, SimulatorError
from sim_clients.sumo import SumoSimulator

libsumo = pytest.importorskip("libsumo")
Make = Callable[[str], SumoSimulator]
STAND = Control(brake=1.0)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[SumoSimulator] = []

    def make_one(town: str) -> SumoSimulator:
        made.append(SumoSimulator(town))
        return made[-1]

    yield make_one
    for simulator in made:
        simulator.close()


def in_ego_frame(ego: Ego, actors: Actors) -> np.ndarray:
    relative = actors.pose[:, :2] - np.array([ego.x, ego.y])
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    return np.stack([relative @ [cos, sin], relative @ [-sin, cos]], axis=1)


def follow(scene: Scene) -> Control:
    """Steers along the route at 6 m/s, blind to everything else."""
    ego, route = scene.ego, scene.route
    nearest = int(np.argmin(np.hypot(*(route.points - [ego.x, ego.y]).T)))
    target = route.points[min(nearest + 5, len(route.points) - 1)]
    angle = math.atan2(target[1] - ego.y, target[0] - ego.x) - ego.yaw
    angle = (angle + math.pi) % (2 * math.pi) - math.pi
    return Control(0.7 if ego.speed_mps < 6.0 else 0.0, float(np.clip(-1.5 * angle, -1, 1)), 0.0)


def test_first_scene_is_complete(make: Make) -> None:
    scene = make("alder").reset(EpisodeTask(1, 2))
    assert scene.time_s == 0.0
    assert len(scene.vehicles) == 60 and len(scene.walkers) == 40
    assert len(set(scene.vehicles.ids.tolist())) == 60
    assert len({tuple(size) for size in scene.vehicles.half_extent.tolist()}) >= 4
    assert scene.walker_on_pavement.shape == (40,) and scene.walker_on_pavement.mean() > 0.7
    assert np.hypot(*scene.vehicles.velocity.T).mean() > 1.0, "traffic is already flowing"
    assert scene.ego.speed_mps == 0.0
    start = scene.route.points[0]
    assert math.dist((scene.ego.x, scene.ego.y), start) < 1e-9
    around = in_ego_frame(scene.ego, scene.vehicles)
    own_lane = np.abs(around[:, 1]) < 2.0
    gaps = np.abs(around[own_lane, 0]) - 2.45 - scene.vehicles.half_extent[own_lane, 0]
    assert not (gaps < 7.5).any(), "8 m behind and 12 m ahead are clear"


def test_vehicles_stand_inside_the_road_and_walkers_on_pavements_or_crossings(make: Make) -> None:
    simulator = make("birch")
    scene = simulator.reset(EpisodeTask(1, 2))
    road = [polygon.astype(np.float32) for polygon in scene.map.road_polygons]
    foot = [polygon.astype(np.float32) for polygon in (*scene.map.pavements, *scene.map.crossings)]

    def lies_in(polygons: list[np.ndarray], x: float, y: float, slack_m: float) -> bool:
        return any(cv2.pointPolygonTest(polygon, (x, y), True) > -slack_m for polygon in polygons)

    for _ in range(30):
        for _ in range(10):
            scene = simulator.step(STAND)
        assert all(lies_in(road, x, y, 0.3) for x, y, _ in scene.vehicles.pose.tolist())
        inside = [lies_in(foot, x, y, 0.4) for x, y, _ in scene.walkers.pose.tolist()]
        assert np.mean(inside) > 0.95


def test_traffic_stops_behind_a_standing_ego(make: Make) -> None:
    simulator = make("alder")
    scene = simulator.reset(EpisodeTask(5, 4))
    waiting = False
    for _ in range(900):
        scene = simulator.step(STAND)
        around = in_ego_frame(scene.ego, scene.vehicles)
        own_lane = np.abs(around[:, 1]) < 1.2
        gaps = np.abs(around[:, 0]) - 2.45 - scene.vehicles.half_extent[:, 0]
        assert not (own_lane & (gaps < 0.0)).any(), "somebody drove into the ego"
        speed = np.hypot(*scene.vehicles.velocity.T)
        waiting |= bool((own_lane & (around[:, 0] < 0) & (gaps < 6.0) & (speed < 0.1)).any())
    assert waiting


def test_numbers_are_kept_and_traffic_keeps_moving(make: Make) -> None:
    simulator = make("birch")
    scene = simulator.reset(EpisodeTask(2, 9, endless=True))
    travelled = 0.0
    for _ in range(1200):
        scene = simulator.step(follow(scene))
        travelled += float(np.hypot(*scene.vehicles.velocity.T).mean()) * 0.1
        assert len(scene.vehicles) >= 58 and len(scene.walkers) >= 38
    assert travelled / 120.0 > 2.0
    ego_travel = scene.route.distances_m[
        int(np.argmin(np.hypot(*(scene.route.points - [scene.ego.x, scene.ego.y]).T)))
    ]
    assert scene.route.length_m - ego_travel >= 1000.0, "an endless route stays ahead"


def test_lights_show_every_colour_and_their_timer_runs_down(make: Make) -> None:
    simulator = make("acorn")
    scene = simulator.reset(EpisodeTask(1, 2, vehicles=10, walkers=5, min_route_m=200.0, min_signals=1))
    seen: list[set[int]] = [set() for _ in scene.map.stop_lines]
    changes = 0
    for _ in range(900):
        before, scene = scene, simulator.step(STAND)
        assert ((scene.light_remaining >= 0) & (scene.light_remaining <= 1)).all()
        for line, (old, new) in enumerate(zip(before.light_colours, scene.light_colours, strict=True)):
            seen[line].add(int(new))
            if old == new:
                assert scene.light_remaining[line] < before.light_remaining[line] + 1e-9
            else:
                changes += 1
                assert before.light_remaining[line] * 60.0 < 3.0 and scene.light_remaining[line] > 0.95
                assert (old, new) in {
                    (LightColour.GREEN, LightColour.YELLOW),
                    (LightColour.YELLOW, LightColour.RED),
                    (LightColour.RED, LightColour.GREEN),
                }
    assert all(colours == {1, 2, 3} for colours in seen) and changes >= 9


def test_pedestrians_walk_and_cross(make: Make) -> None:
    simulator = make("alder")
    scene = simulator.reset(EpisodeTask(1, 2))
    start = dict(zip(scene.walkers.ids.tolist(), scene.walkers.pose[:, :2], strict=True))
    crossed: set[int] = set()
    for _ in range(600):
        scene = simulator.step(STAND)
        crossed |= set(scene.walkers.ids[~scene.walker_on_pavement].tolist())
        assert np.hypot(*scene.walkers.velocity.T).max() < 2.5
    moved = [
        math.dist(start[number], pose[:2])
        for number, pose in zip(scene.walkers.ids.tolist(), scene.walkers.pose, strict=True)
        if number in start
    ]
    assert np.median(moved) > 20.0
    assert len(crossed) >= 10


def test_ego_moves_by_the_vehicle_model_and_is_never_removed(make: Make) -> None:
    simulator = make("alder")
    simulator.reset(EpisodeTask(3, 4))
    for steer in (0.0, 0.05, -0.4):
        for _ in range(150):
            scene = simulator.step(Control(0.6, steer, 0.0))
    assert scene.ego.speed_mps > 5.0, "off the road it drives on"
    assert scene.ego.control == Control(0.6, -0.4, 0.0)
    assert scene.time_s == pytest.approx(45.0)


def test_soft_reset_keeps_the_traffic_and_a_hard_one_does_not(make: Make) -> None:
    simulator = make("alder")
    simulator.reset(EpisodeTask(1, 2))
    for _ in range(50):
        before = simulator.step(STAND)
    soft = simulator.reset(EpisodeTask(9, 3, hard_reset=False))
    assert soft.time_s == 0.0 and soft.ego.speed_mps == 0.0
    common = set(soft.vehicles.ids.tolist()) & set(before.vehicles.ids.tolist())
    assert len(common) >= 55
    at = dict(zip(before.vehicles.ids.tolist(), before.vehicles.pose, strict=True))
    jumps = [
        math.dist(at[number][:2], pose[:2])
        for number, pose in zip(soft.vehicles.ids.tolist(), soft.vehicles.pose, strict=True)
        if number in common
    ]
    assert np.median(jumps) < 50.0
    hard = simulator.reset(EpisodeTask(1, 2))
    fresh = simulator.reset(EpisodeTask(1, 2))
    np.testing.assert_array_equal(hard.vehicles.pose, fresh.vehicles.pose)
    assert not np.array_equal(hard.vehicles.pose, soft.vehicles.pose)


def test_a_soft_reset_lets_go_whoever_was_held_for_the_last_ego(make: Make) -> None:
    simulator = make("birch")
    scene = simulator.reset(EpisodeTask(1, 2, vehicles=20, walkers=20))
    simulator._courtesy._hold({f"v{number}" for number in scene.vehicles.ids}, scene.vehicles)
    simulator._pedestrians._hold({f"p{number}" for number in scene.walkers.ids})
    scene = simulator.reset(EpisodeTask(9, 3, vehicles=20, walkers=20, hard_reset=False))
    # Not a step of the simulator: each would let go by itself.
    for _ in range(30):
        simulator._advance((scene.ego.x, scene.ego.y))
    scene = simulator._scene()
    assert (np.linalg.norm(scene.vehicles.velocity, axis=1) > 0.5).mean() > 0.3
    assert (np.linalg.norm(scene.walkers.velocity, axis=1) > 0.5).mean() > 0.5


PROGRAM = """
import hashlib
import numpy as np
from sim_clients.scene import Control
from sim_clients.simulator import EpisodeTask
from sim_clients.sumo import SumoSimulator

simulator, digest = SumoSimulator("alder"), hashlib.sha256()
for hard in (True, False):
    scene = simulator.reset(EpisodeTask(3, 4, hard_reset=hard))
    for step in range(300):
        scene = simulator.step(Control(0.5, 0.02 * np.sin(step / 7), 0.0))
        ego = np.array([scene.ego.x, scene.ego.y, scene.ego.yaw])
        for column in (scene.vehicles.ids, scene.vehicles.pose, scene.vehicles.velocity, scene.walkers.pose,
                       scene.walkers.ids, scene.light_colours, scene.light_remaining, ego, scene.route.points):
            digest.update(column.tobytes())
print(digest.hexdigest())
"""


def test_same_seeds_and_controls_give_the_same_bits_in_fresh_processes() -> None:
    digests = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=100
        ).stdout
        for _ in range(2)
    ]
    assert len(digests[0].strip()) == 64
    assert digests[0] == digests[1]


def test_one_simulator_a_process(make: Make) -> None:
    simulator = make("acorn")
    with pytest.raises(SimulatorError, match="one simulation a process"):
        SumoSimulator("acorn")
    simulator.close()
    simulator.close()
    make("acorn")


def test_misuse_is_refused_with_a_reason(make: Make) -> None:
    with pytest.raises(SimulatorError, match=r"unknown town 'atlantis'.*birch"):
        make("atlantis")
    simulator = make("acorn")
    with pytest.raises(SimulatorError, match="call reset first"):
        simulator.step(STAND)
    task = EpisodeTask(1, 2, vehicles=5, walkers=2, min_route_m=100.0, min_signals=0)
    simulator.reset(task)
    with pytest.raises(SimulatorError, match="not finite"):
        simulator.step(Control(float("nan"), 0.0, 0.0))
    simulator.close()
    with pytest.raises(SimulatorError, match="closed"):
        simulator.reset(task)


def test_what_sumo_refuses_is_a_simulator_error_and_a_hard_reset_goes_on(make: Make) -> None:
    simulator = make("acorn")
    task = EpisodeTask(1, 2, vehicles=5, walkers=2, min_route_m=100.0, min_signals=0)
    simulator.reset(task)
    libsumo.vehicle.remove("ego")
    libsumo.route.add(f"ego{libsumo.simulation.getTime():.1f}", libsumo.edge.getIDList()[-1:])
    with pytest.raises(SimulatorError, match="SUMO cannot go on: .*hard_reset=True"):
        simulator.step(STAND)
    assert simulator.reset(task).time_s == 0.0
    assert simulator.step(STAND).time_s == pytest.approx(0.1)


def test_missing_libsumo_names_the_extra() -> None:
    code = "import sys; sys.modules['libsumo'] = None\nimport sim_clients.sumo"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "codriver[sumo]" in done.stderr


def test_pedestrians_do_not_step_in_front_of_a_car_that_cannot_stop(make: Make) -> None:
    simulator = make("birch")
    hits = 0
    for seed in range(3):
        scene = simulator.reset(EpisodeTask(seed, seed, vehicles=0, walkers=80))
        for _ in range(700):
            scene = simulator.step(follow(scene))
            around = np.abs(in_ego_frame(scene.ego, scene.walkers))
            hits += bool(((around[:, 0] < 2.7) & (around[:, 1] < 1.28)).any())
    assert hits == 0
