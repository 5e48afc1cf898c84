"""``codriver bench serve`` prints what it promises; what the figures are is the machine's business."""

import json

import pytest

from agent_server.bench.frames import frames
from agent_server.bench.serve import main
from agent_server.policies.card import PolicyCard
from agent_server.policies.directory import save_policy
from agent_server.policies.network import DrivingNetwork
from codriver.codecs.column import encode_column

ARGUMENTS = {"channels": 2, "size": 8, "state_items": 3}


@pytest.mark.timeout(300)
def test_prints_the_promised_figures(capsys, tmp_path, kit):
    card = PolicyCard("tiny", "bev_cnn", kit.SPEC, kit.ACTIONS, arguments=ARGUMENTS, has_value=True)
    save_policy(tmp_path / "tiny", card, DrivingNetwork(**ARGUMENTS))
    arguments = [
        "--policy",
        str(tmp_path / "tiny"),
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--transport",
        "tcp",
    ]
    assert main([*arguments, "--envs", "1", "--envs", "8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(r["envs"], r["frames_per_message"]) for r in report["runs"]] == [(1, 1), (8, 1), (8, 8)]
    names = {
        "transport",
        "runtime",
        "envs",
        "frames_per_message",
        "actions_per_s",
        "efficiency",
        "p50_ms",
        "p99_ms",
    }
    for run in report["runs"]:
        assert names <= set(run)
        assert run["transport"] == "tcp" and run["runtime"] == "torch-fp32"
        assert run["actions_per_s"] > 0 and 0 < run["p50_ms"] <= run["p99_ms"]
    assert {"overhead_p50_ms", "overhead_p99_ms"} <= set(report)
    assert "made up" in report["setting"]["frames"]


def test_bad_options(capsys, tmp_path):
    assert main(["--rounds", "0"]) == 2
    assert main(["--policy", str(tmp_path / "none"), "--rounds", "1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "does not exist" in lines[1]


def test_made_up_frames_fit_the_spec(kit):
    rows = frames(kit.SPEC, 5)
    assert {name: values.shape for name, values in rows.items()} == {"masks": (5, 2, 8, 8), "state": (5, 3)}
    assert encode_column(kit.MASKS, rows["masks"]).data
