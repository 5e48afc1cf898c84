"""Behaviour cloning on a small synthetic task: it learns, resumes to the same bits, and refuses what it cannot use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from agent_server.policies import load_policy
from agent_server.policies.directory import load_card
from agent_server.train.bc import main, train
from agent_server.train.data import is_held_out, load_rows
from agent_server.train.loader import batches, draw_epoch, make_batch, shifted
from agent_server.train.options import Options
from agent_server.train.trainer import Trainer
from codriver.dataset import DatasetError, EpisodeData, ShardWriter
from codriver.driving import action_spec, observation_spec

ROWS = 33


def _record(directory: Path, episodes: int = 12, seed: int = 0) -> Path:
    """Episodes of scenes drawn at random: steer for the road's middle, brake where there is a red line."""
    rng = np.random.default_rng(seed)
    with ShardWriter(directory, observation_spec(), action_spec(), {"collector": "test"}) as out:
        for number in range(episodes):
            offset = rng.integers(-20, 21, ROWS)
            red = rng.random(ROWS) < 0.4
            masks = np.zeros((ROWS, 15, 96, 96), np.uint8)
            for row in range(ROWS):
                middle = 48 + offset[row]
                masks[row, :2, :, middle - 6 : middle + 6] = 255
                if red[row]:
                    masks[row, 11:15, 20:70, 20:76] = 255
            label = np.stack([np.where(red, -1.0, 0.5), offset / 40], axis=1).astype(np.float32)
            label[-1] = np.nan
            kinds = np.full(ROWS, 2)
            kinds[0], kinds[-1] = 1, 3
            state = np.zeros((ROWS, 10), np.float32)
            state[:, 4] = rng.uniform(0, 6, ROWS)
            out.add_episode(
                EpisodeData(
                    id=f"{seed}-{number}",
                    tensors={"bev_masks": masks, "state": state},
                    expert_action=label,
                    applied_action=np.nan_to_num(label),
                    reward=np.ones(ROWS, np.float32),
                    step_kind=kinds,
                    command=np.full(ROWS, 4),
                    forward_speed_mps=state[:, 4],
                    target_m=np.zeros((ROWS, 2)),
                )
            )
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _record(tmp_path_factory.mktemp("bc") / "data")


def _options(data: Path, out: Path, **changes: Any) -> Options:
    return Options(**{"data": (data,), "out": out, "threads": 2, "batch": 32, "micro_batch": 16, **changes})


def _quiet() -> Console:
    return Console(quiet=True)


def test_it_learns(data: Path, tmp_path: Path) -> None:
    options = _options(
        data, tmp_path / "run", epochs=3, epoch_rows=640, validation_share=0.2, average=0.9, batch=16
    )
    summary = train(options, _quiet())
    rows = load_rows(options.data, options.weights, 0.2, 0.5)
    held, seen = rows.label[rows.held_out], rows.label[~rows.held_out]
    guess = np.abs(held - np.median(seen, axis=0)).mean(axis=0)
    assert summary["steer_mae"] < 0.35 * guess[1]
    assert summary["throttle_mae"] + summary["brake_mae"] < 0.35 * guess[0]
    assert summary["brakes_when_braking"] > 0.8 and summary["brakes_for_nothing"] < 0.2
    assert summary["parameters"]["deployed_actor"] == 1_422_038
    policy = load_policy(summary["policy"])
    assert policy.card.metrics["validation"]["steer_mae"] == round(summary["steer_mae"], 5)
    assert policy.card.training["data"][0]["rows"] == 12 * ROWS
    assert policy.card.arguments["ignored_state"] == [0, 1, 2]
    output = policy.forward({"bev_masks": rows.unpack(np.arange(4)), "state": rows.state[:4]})
    assert output.value is not None
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2, 3]
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]


def _weights(options: Options) -> dict[str, torch.Tensor]:
    return dict(load_policy(options.out / "policy")._module.state_dict())


def test_a_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path) -> None:
    straight = _options(data, tmp_path / "straight", epochs=2, epoch_rows=64)
    train(straight, _quiet())
    broken = _options(data, tmp_path / "broken", epochs=2, epoch_rows=64)
    rows = load_rows(broken.data, broken.weights, broken.validation_share, broken.balance)
    torch.manual_seed(broken.seed)
    from agent_server.train.bc import _start

    Trainer(rows, *_start(broken, rows), broken).run_epoch()  # and then the process is killed
    train(_options(data, tmp_path / "broken", epochs=2, epoch_rows=64, resume=True), _quiet())
    first, second = _weights(straight), _weights(broken)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert load_card(broken.out / "policy").training["epochs"] == 2


def test_resuming_a_finished_run_trains_nothing(data: Path, tmp_path: Path) -> None:
    options = _options(data, tmp_path / "run", epochs=1, epoch_rows=32)
    train(options, _quiet())
    before = (tmp_path / "run" / "checkpoint" / "state.safetensors").read_bytes()
    train(_options(data, tmp_path / "run", epochs=1, epoch_rows=32, resume=True), _quiet())
    assert (tmp_path / "run" / "checkpoint" / "state.safetensors").read_bytes() == before


def test_init_starts_from_a_policy(data: Path, tmp_path: Path) -> None:
    first = _options(data, tmp_path / "first", epochs=1, epoch_rows=32)
    train(first, _quiet())
    second = _options(
        data, tmp_path / "second", epochs=1, epoch_rows=32, init=first.out / "policy", lr=1e-9, average=0.0
    )
    train(second, _quiet())
    a, b = _weights(first), _weights(second)
    assert all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def test_errors_are_one_line_and_status_2(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    cases: list[tuple[tuple[object, ...], str]] = [
        (("--data", tmp_path / "none", "--out", out), "does not exist"),
        (("--data", tmp_path, "--out", out), "is not a dataset"),
        (("--data", data, "--out", out, "--resume"), "no checkpoint"),
        (("--data", data, "--out", out, "--weights", 1, 2), "--weights needs one number"),
        (("--data", data, "--out", out, "--batch", 100), "multiple"),
        (("--data", data, "--out", out, "--ignore-state", "throtle"), "unknown state item 'throtle'"),
        (("--data", data, "--out", out, "--init", tmp_path), "card.json is missing"),
    ]
    for words, message in cases:
        assert _run(*words) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("codriver train bc: ") and message in error
    train(_options(data, out, epochs=1, epoch_rows=32), _quiet())
    assert _run("--data", data, "--out", out) == 2
    assert "holds a run already" in capsys.readouterr().err
    (out / "checkpoint" / "state.safetensors").write_bytes(b"junk")
    assert _run("--data", data, "--out", out, "--resume", "--epochs", 3) == 2
    assert "cannot be used" in capsys.readouterr().err


def test_datasets_are_weighted(data: Path, tmp_path: Path) -> None:
    later = _record(tmp_path / "dagger", episodes=4, seed=7)
    rows = load_rows((data, later), (1.0, 6.0), 0.0, 0.0)
    assert len(rows) == 16 * (ROWS - 1)
    share = (rows.dataset[draw_epoch(rows, 20_000, 0, 0)] == 1).mean()
    assert share == pytest.approx(4 * 6 / (12 + 4 * 6), abs=0.02)


def test_batches_hold_the_drawn_rows(data: Path) -> None:
    rows = load_rows((data,), (1.0,), 0.0, 0.5)
    order = draw_epoch(rows, 70, 3, 1)
    found = list(batches(rows, order, 32))
    assert len(found) == 2
    np.testing.assert_array_equal(np.concatenate([b.label for b in found]), rows.label[order[:64]])
    masks = np.concatenate([b.masks for b in found])
    np.testing.assert_array_equal(masks, rows.unpack(order[:64]))
    np.testing.assert_array_equal(order, draw_epoch(rows, 70, 3, 1))
    assert not np.array_equal(order, draw_epoch(rows, 70, 3, 2))


def test_a_failure_of_the_loader_reaches_the_trainer(data: Path) -> None:
    rows = load_rows((data,), (1.0,), 0.0, 0.5)
    with pytest.raises(IndexError):
        list(batches(rows, np.array([0, 10**6]), 2))


def test_held_out_episodes_are_never_drawn(data: Path) -> None:
    rows = load_rows((data,), (1.0,), 0.3, 0.5)
    assert rows.held_out.any()
    assert not rows.held_out[draw_epoch(rows, 5000, 0, 0)].any()
    kept = [is_held_out(f"episode {i}", 0.1) for i in range(5000)]
    assert 0.08 < np.mean(kept) < 0.12


def test_unlabelled_data_is_refused(data: Path) -> None:
    with pytest.raises(DatasetError, match="no labelled rows"):
        load_rows((data,), (1.0,), 0.999999, 0.5)


def test_shift_moves_whole_rows(data: Path) -> None:
    rows = load_rows((data,), (1.0,), 0.0, 0.5)
    masks = rows.unpack(np.arange(6))
    moved = shifted(masks, 3, np.random.default_rng(0))
    for before, after in zip(masks, moved, strict=True):
        places = [
            (y, x)
            for y in range(-3, 4)
            for x in range(-3, 4)
            if np.array_equal(np.roll(before, (y, x), (1, 2))[:, 3:-3, 3:-3], after[:, 3:-3, 3:-3])
        ]
        assert places
    assert make_batch(rows, np.arange(2), shift_px=2).masks.shape == (2, 15, 96, 96)
