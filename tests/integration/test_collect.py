"""``codriver collect``: killed, continued, and read back."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from codriver.dataset import Dataset
from codriver.driving import MASK_LEVELS
from sim_clients.drive.recorder import episode_id
from sim_clients.drive.tasks import TaskList
from tests.integration.helpers import SMALL_TOWN, Program, codriver, wait_until

EPISODES = 4


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A dataset whose collection was killed when its first shard was written, and then continued."""
    out = tmp_path_factory.mktemp("collect") / "data"
    command = (
        "collect", "--out", out, *SMALL_TOWN, "--episodes", str(EPISODES), "--envs", "2", "--max-seconds", "8",
        "--rows-per-shard", "50", "--steer-noise", "0.4", "--traffic-spread", "0", "--speed-bin-oracle", "--json",
    )  # fmt: skip
    program = Program(*command)
    assert wait_until(lambda: list(out.glob("manifest-*.json")) != [], 100.0)
    program.process.send_signal(signal.SIGKILL)
    killed = program.finish()
    assert killed.status == -9 and killed.left == []
    before = {path.name: path.read_bytes() for path in out.glob("shard-*.npz")}
    stored = Dataset(out).manifest.episode_ids()
    assert 0 < len(stored) < EPISODES
    ended = codriver(*command)
    assert (ended.status, ended.left) == (0, []), ended.err
    return out, before, stored, ended.figures


def test_the_same_command_continues(collected):
    out, before, stored, figures = collected
    manifest = Dataset(out).manifest
    tasks = TaskList(0, EPISODES, 5, 3, min_route_m=100.0, min_signals=0)
    ids = manifest.episode_ids()
    assert sorted(ids) == sorted(episode_id(task) for task in tasks)
    assert set(stored) <= set(ids)
    assert {name: (out / name).read_bytes() for name in before} == before  # nothing is driven twice
    assert figures["episodes"] == EPISODES and figures["rows"] == manifest.rows
    assert sorted(path.name for path in out.glob("manifest*")) == ["manifest.json"]


def test_every_shard_is_what_its_hash_says_and_decodes(collected):
    dataset = Dataset(collected[0], verify=True)
    rows = 0
    for shard in dataset.shards():
        masks = shard.tensor("bev_masks")
        for channel, levels in enumerate(MASK_LEVELS):
            assert set(np.unique(masks[:, channel])) <= set(levels)
        assert masks[:, 0].any(axis=(1, 2)).all()  # there is road in every picture
        assert np.isfinite(shard.tensor("state")).all()
        assert all(shard.picture(row).startswith(b"\x89PNG") for row in (0, len(shard) - 1))
        rows += len(shard)
    assert rows == len(dataset) > 40 * EPISODES


def test_labels_and_applied_actions(collected):
    table = Dataset(collected[0]).load(["expert_action", "applied_action", "step_kind"])
    last = table["step_kind"] >= 3
    assert last.sum() == EPISODES
    labels, applied = table["expert_action"][~last], table["applied_action"][~last]
    assert np.isfinite(labels).all() and np.abs(labels).max() <= 1
    assert np.isnan(table["expert_action"][last]).all()
    binned = Dataset(collected[0]).load(["expert_action_speed_bin"])["expert_action_speed_bin"]
    assert np.isfinite(binned[~last]).all() and np.isnan(binned[last]).all()
    assert 0.0 < np.abs(binned[~last] - labels).mean() < 0.5  # it knows less, not nothing
    disturbed = np.abs(labels - applied).max(axis=1) > 1e-6
    assert 0.01 < disturbed.mean() < 0.9  # some steps are disturbed, and labels are never


def test_provenance_and_episodes(collected):
    form = json.loads((collected[0] / "manifest.json").read_text())
    (origin,) = form["provenance"]
    assert origin["town"] == "acorn" and origin["driver"] == "expert" and origin["steer_noise"] == 0.4
    for shard in form["shards"]:
        for episode in shard["episodes"]:
            assert episode["info"]["task"]["vehicles"] == 5
            assert episode["rows"] <= 81


def test_the_same_seed_in_another_town_is_refused(collected):
    """Episodes are named by their seeds: those of another town would pass for stored ones."""
    line = codriver("collect", "--out", collected[0], "--town", "alder", "--episodes", "1").refusal("collect")
    assert "town 'acorn'" in line and "--seed" in line


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "data").write_text("no directory")
    line = codriver("collect", "--out", tmp_path / "data", *SMALL_TOWN).refusal("collect")
    assert str(tmp_path / "data") in line


def test_another_dataset_is_not_mixed_in(collected, tmp_path):
    manifest = json.loads((collected[0] / "manifest.json").read_text())
    manifest["format"] = "codriver-dataset/999"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text(json.dumps(manifest))
    assert "codriver-dataset/999" in codriver("collect", "--out", tmp_path / "data", *SMALL_TOWN).refusal(
        "collect"
    )
