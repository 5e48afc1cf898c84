"""``codriver evaluate``: real routes, a log, and every figure again from the log."""

from __future__ import annotations

import json
import signal

import pytest

from sim_clients.metrics.log import read_records
from tests.codriver.coaching.feedback_peer import FeedbackPeer
from tests.integration.helpers import SMALL_TOWN, Program, codriver, wait_until

FIGURES = (
    "town", "routes", "episode_return", "driving_score", "route_completion", "infraction_penalty", "success_rate",
    "collisions_vehicle_per_km", "collisions_walker_per_km", "red_lights_per_km", "speed_mps", "icell_a",
    "fuel_kg_per_s",
)  # fmt: skip


def evaluate(*arguments):
    ended = codriver("evaluate", *SMALL_TOWN, *arguments, "--json")
    assert (ended.status, ended.left) == (0, []), ended.err
    return ended


def test_the_figures_and_the_same_figures_from_the_log(tmp_path):
    log = tmp_path / "log.jsonl"
    driven = evaluate("--policy", "expert", "--routes", "2", "--envs", "2", "--log", log)
    figures = driven.figures
    assert tuple(figures)[: len(FIGURES)] == FIGURES
    assert figures["town"] == "acorn" and figures["routes"] == 2
    assert figures["route_completion"] > 0.5 and figures["speed_mps"] > 1
    records = read_records(log)
    assert [record.policy_id for record in records] == ["expert"] * 2
    assert len({record.route_seed for record in records}) == 2
    again = codriver("evaluate", "--from", log, "--json")
    assert again.status == 0 and again.out == driven.out


def test_a_policy_drives_with_and_without_what_it_sees(policy_path, server, tmp_path):
    """The same routes once on a server started for it, blinded, and once on a server that runs."""
    blinded = evaluate(
        "--policy", policy_path, "--routes", "2", "--envs", "2", "--hide", "traffic", "--hide", "lights",
        "--log", tmp_path / "hidden.jsonl",
    )  # fmt: skip
    seeing = evaluate(
        "--server", server["unix"], "--routes", "2", "--envs", "2", "--log", tmp_path / "log.jsonl"
    )
    hidden, seen = (
        sorted(read_records(tmp_path / name), key=lambda record: record.route_seed)
        for name in ("hidden.jsonl", "log.jsonl")
    )
    assert [r.route_seed for r in hidden] == [r.route_seed for r in seen]
    assert {r.policy_id for r in (*hidden, *seen)} == {"untrained"}
    assert blinded.figures["routes"] == seeing.figures["routes"] == 2
    assert [r.episode_return for r in hidden] != [r.episode_return for r in seen]


@pytest.mark.parametrize(("number", "policy"), [(signal.SIGINT, "blind"), (signal.SIGKILL, None)])
def test_what_was_driven_before_an_interruption_is_in_the_log(number, policy, policy_path, tmp_path):
    """With a policy there is a server too, which must not outlive the command that was killed."""
    log = tmp_path / "log.jsonl"
    program = Program(
        "evaluate",
        *SMALL_TOWN,
        "--policy",
        policy or policy_path,
        "--routes",
        "500",
        "--envs",
        "1",
        "--log",
        log,
    )
    assert wait_until(lambda: log.exists() and log.read_text().count("\n") >= 1, 100.0)
    program.process.send_signal(number)
    ended = program.finish()
    assert ended.status == {signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert ended.left == [] and "Traceback" not in ended.err
    count = len(log.read_text().splitlines())
    again = codriver("evaluate", "--from", log, "--json")
    assert again.status == 0 and again.figures["routes"] == count


def test_a_damaged_log_is_named_with_its_line(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"format": "codriver.episode/1", "town": "acorn"}) + "\n")
    line = codriver("evaluate", "--from", log).refusal("evaluate")
    assert f"{log}, line 1" in line
    assert str(tmp_path / "none") in codriver("evaluate", "--from", tmp_path / "none").refusal("evaluate")


def test_a_corrupt_policy_is_one_line(policy_path, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "card.json").write_bytes((policy_path / "card.json").read_bytes())
    weights = bytearray((policy_path / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (broken / "weights.safetensors").write_bytes(weights)
    ended = codriver(
        "evaluate", *SMALL_TOWN, "--policy", broken, "--routes", "1", "--log", tmp_path / "log.jsonl"
    )
    assert "corrupt" in ended.refusal("evaluate")


def test_a_server_that_is_not_there_leaves_the_old_log_alone(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("what was driven before")
    ended = codriver("evaluate", *SMALL_TOWN, "--server", "127.0.0.1:1", "--routes", "1", "--log", log)
    assert "127.0.0.1:1" in ended.refusal("evaluate")
    assert log.read_text() == "what was driven before"


def test_drivers_that_look_at_the_scene_cannot_be_blinded():
    ended = codriver("evaluate", "--policy", "expert", "--hide", "traffic")
    assert ended.status == 2 and "'expert' looks at the scene itself" in ended.err.splitlines()[-1]


def test_a_route_that_the_town_does_not_have(tmp_path):
    ended = codriver(
        "evaluate", "--town", "acorn", "--policy", "expert", "--routes", "1", "--min-route-m", "1e6",
        "--log", tmp_path / "log.jsonl",
    )  # fmt: skip
    lines = [line for line in ended.err.splitlines() if line.startswith("codriver")]
    assert ended.status == 2 and len(lines) == 1 and "1000000 m" in lines[0] and "acorn" in lines[0], (
        ended.err
    )


def test_the_vision_language_model_drives_by_itself(tmp_path):
    log = tmp_path / "log.jsonl"
    with FeedbackPeer(tmp_path / "f") as peer:
        ended = evaluate(
            "--policy", "vlm", "--feedback", peer.address, "--routes", "2", "--envs", "2", "--log", log
        )
    figures = ended.figures
    assert figures["routes"] == 2 and figures["unanswered_share"] == 0.0 and figures["unanswered"] == {}
    assert [record.policy_id for record in read_records(log)] == ["peer"] * 2
    steps = sum(record.steps for record in read_records(log))
    assert len(peer.asked) == steps and {request.coach for request in peer.asked} == {"vlm"}


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    nowhere = ("--policy", "vlm", "--feedback", f"unix:{tmp_path}/f")
    line = codriver("evaluate", *SMALL_TOWN, *nowhere, "--log", tmp_path / "log").refusal("evaluate")
    assert "'vlm' does not answer" in line and "unix:" in line
