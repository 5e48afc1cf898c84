"""Metrics of hand-made episodes, and an episode from its steps to its figures."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from sim_clients.metrics.episode import EpisodeMetrics, EpisodeRecord
from sim_clients.metrics.log import LogError, append_records, read_records
from sim_clients.metrics.summary import (
    driving_score,
    infraction_penalty,
    route_completion,
    succeeded,
    summarise,
)
from sim_clients.reward import RewardTerms
from sim_clients.rules.collisions import Hit, HitKind
from sim_clients.simulator import EpisodeTask
from sim_clients.termination import EndReason
from tests.sim_clients.reports import progress, report
from tests.sim_clients.scenes import ego, scene

DONE = EpisodeRecord(
    town="t", steps=100, route_m=1000.0, completed_m=995.0, completed=True, end_reason="route_completed"
)
HALF = EpisodeRecord(town="t", steps=50, route_m=1000.0, completed_m=500.0, end_reason="collision_vehicle")


def test_route_completion():
    assert route_completion(DONE) == 1.0
    assert route_completion(HALF) == 0.5
    assert route_completion(EpisodeRecord()) == 0.0
    assert route_completion(replace(HALF, completed_m=1001.0)) == 1.0


@pytest.mark.parametrize(
    ("changes", "penalty"),
    [
        ({}, 1.0),
        ({"collisions_static": 1}, 0.65),
        ({"collisions_vehicle": 1}, 0.60),
        ({"collisions_walker": 2}, 0.25),
        ({"red_lights": 1}, 0.70),
        ({"stop_signs": 1}, 0.80),
        ({"outside_lane_m": 50.0}, 0.9),
        ({"wrong_lane_m": 25.0, "outside_lane_m": 25.0, "red_lights": 1}, 0.63),
        ({"wrong_lane_m": 600.0}, 0.0),
    ],
)
def test_infraction_penalty_after_500_metres(changes, penalty):
    record = replace(HALF, **changes)
    assert infraction_penalty(record) == pytest.approx(penalty)
    assert driving_score(record) == pytest.approx(0.5 * penalty)


def test_success():
    assert succeeded(DONE)
    assert not succeeded(replace(DONE, completed=False))
    assert succeeded(replace(DONE, completed=False, completed_m=999.0))


def test_summary_by_hand():
    first = replace(
        DONE,
        episode_return=80.0,
        red_lights=1,
        speed_sum_mps=500.0,
        icell_paper_sum_a=5.0,
        fuel_paper_sum_kg_per_s=0.1,
    )
    second = replace(
        HALF,
        episode_return=20.0,
        collisions_vehicle=1,
        collisions_walker=2,
        speed_sum_mps=100.0,
        icell_paper_sum_a=5.0,
        fuel_paper_sum_kg_per_s=0.1,
    )
    found = summarise([first, second])
    expected = {
        "town": "t",
        "routes": 2,
        "episode_return": 50.0,
        "driving_score": (0.7 + 0.5 * 0.6 * 0.25) / 2,
        "route_completion": 0.75,
        "infraction_penalty": (0.7 + 0.15) / 2,
        "success_rate": 0.5,
        "collisions_vehicle_per_km": 1 / 1.495,
        "collisions_walker_per_km": 2 / 1.495,
        "red_lights_per_km": 1 / 1.495,
        "speed_mps": (5.0 + 2.0) / 2,
        "icell_a": (0.05 + 0.1) / 2,
        "fuel_kg_per_s": (0.001 + 0.002) / 2,
    }
    assert list(found)[: len(expected)] == list(expected)
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert found["strict_success_rate"] == 0.0
    assert found["episode_return_std"] == pytest.approx(30.0)
    assert found["end_reasons"] == {"collision_vehicle": 1, "route_completed": 1}
    json.dumps(found, allow_nan=False)


def test_an_episode_counts_as_one_metre_at_least():
    stuck = EpisodeRecord(town="t", route_m=500.0, collisions_vehicle=1, end_reason="collision_vehicle")
    assert summarise([stuck])["collisions_vehicle_per_km"] == pytest.approx(1000.0)


def test_the_order_of_episodes_changes_no_digit():
    # A log holds episodes in the order in which they ended, which depends on the number of processes.
    lengths = [516.8671, 733.0921, 1288.4417, 600.1, 0.3, 941.777]
    records = [EpisodeRecord(town="t", completed_m=m, route_m=2000.0, red_lights=1) for m in lengths]
    for shift in range(1, len(records)):
        assert summarise(records[shift:] + records[:shift]) == summarise(records)


def test_no_episodes():
    with pytest.raises(ValueError, match="no episodes"):
        summarise([])


def drive() -> EpisodeRecord:
    metrics = EpisodeMetrics(EpisodeTask(route_seed=3, traffic_seed=4), "some-policy")
    car = ego(speed=5.0, acceleration=np.array([2.0, 0.0]))
    metrics.update(
        scene(car, time_s=0.1), report(progress=progress(distance_m=10.0)), RewardTerms(1, -0.5, 0, 0, 0)
    )
    metrics.update(
        scene(car, time_s=0.2),
        report(progress=progress(distance_m=10.5), outside_lane=True),
        RewardTerms(0.5, 0, -0.25, -0.1, 0),
    )
    metrics.update(
        scene(replace(car, velocity=np.array([3.0, 4.0]) / 5), time_s=0.3),
        report(
            progress=progress(distance_m=11.0),
            wrong_lane=True,
            hits=(Hit(HitKind.WALKER, 1, True), Hit(HitKind.VEHICLE, 2, False)),
            ran_stop=True,
        ),
        RewardTerms(0, 0, 0, 0, -2),
    )
    return metrics.finish(EndReason.COLLISION_WALKER)


def test_an_episode_adds_up():
    record = drive()
    assert (record.town, record.policy_id, record.route_seed, record.traffic_seed) == (
        "small",
        "some-policy",
        3,
        4,
    )
    assert (record.steps, record.duration_s, record.end_reason) == (3, 0.3, "collision_walker")
    assert record.episode_return == pytest.approx(0.5 + 0.15 - 2.0)
    assert record.reward_speed == pytest.approx(1.5)
    assert (record.route_m, record.completed_m, record.completed) == (300.0, 11.0, False)
    assert record.outside_lane_m == pytest.approx(0.5)
    assert record.wrong_lane_m == pytest.approx(0.1)
    assert (record.collisions_walker, record.collisions_vehicle, record.collisions_static) == (1, 1, 0)
    assert (record.collisions_not_at_fault, record.red_lights, record.stop_signs) == (1, 0, 1)
    assert record.speed_sum_mps == pytest.approx(11.0)
    assert record.icell_paper_sum_a > 0 and record.fuel_paper_sum_kg_per_s > 0


def test_a_completed_route_stays_completed():
    metrics = EpisodeMetrics()
    for completed in (True, False):
        metrics.update(scene(), report(progress=progress(completed=completed)), RewardTerms(0, 0, 0, 0, 0))
    assert metrics.finish(EndReason.ROUTE_COMPLETED).completed


def test_a_log_gives_back_what_was_written(tmp_path):
    path = tmp_path / "episodes.jsonl"
    append_records(path, [drive()])
    append_records(path, [DONE, HALF])
    records = read_records(path)
    assert records == [drive(), DONE, HALF]
    assert summarise(records) == summarise([drive(), DONE, HALF])


def corrupt(change):
    row = {"format": "codriver.episode/1", **DONE.to_json()}
    change(row)
    return json.dumps(row)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: "),
        ("[]", "not an object with format"),
        (corrupt(lambda row: row.pop("format")), "not an object with format"),
        (corrupt(lambda row: row.pop("steps")), "missing field 'steps'"),
        (corrupt(lambda row: row.update(extra=1)), "unknown field 'extra'"),
        (corrupt(lambda row: row.update(steps=1.5)), "field 'steps' is 1.5, not int"),
        (corrupt(lambda row: row.update(steps=True)), "field 'steps' is True, not int"),
        (corrupt(lambda row: row.update(completed=1)), "field 'completed' is 1, not bool"),
        (corrupt(lambda row: row.update(completed_m=math.nan)), "field 'completed_m' is not finite"),
        (corrupt(lambda row: row.update(red_lights=-1)), "field 'red_lights' is negative"),
        (corrupt(lambda row: row.update(end_reason="tired")), "unknown end_reason 'tired'"),
    ],
)
def test_a_corrupt_log_names_the_line(tmp_path, line, message):
    path = tmp_path / "episodes.jsonl"
    append_records(path, [DONE])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(LogError, match="line 2") as caught:
        read_records(path)
    assert message in str(caught.value)


def test_no_log(tmp_path):
    with pytest.raises(LogError, match="cannot read the episode log"):
        read_records(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(LogError, match="holds no episodes"):
        read_records(tmp_path / "empty.jsonl")
