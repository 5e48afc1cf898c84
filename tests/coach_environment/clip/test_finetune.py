import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from codriver.coaching.vocabulary import LATERAL, caption
from feedback_service.finetune.clip.command import main
from feedback_service.finetune.clip.data import balanced, load_pictures, mirrored
from feedback_service.finetune.clip.shards import load_shards
from feedback_service.models.clip.card import read_card
from tests.coach_environment.clip.conftest import STEPS


def test_a_short_training_on_drawn_drives_beats_the_commonest_answers(report):
    figures, baseline = report["metrics"]["measure"], report["baselines"]["measure"]
    assert baseline["rows"] == 120
    assert figures["top1"] > baseline["context_majority"]["top1"] + 0.2 > baseline["majority"]
    assert [entry["samples"] for entry in report["history"]] == [960, 1920]


def test_the_run_holds_model_log_and_curves(run, report):
    card = read_card(run / "model")
    assert card.image_size_px == 32 and card.facts["training"]["data"][0]["name"] == "train"
    assert card.facts["metrics"] == report["metrics"]
    assert len((run / "log.jsonl").read_text().splitlines()) == 2
    assert (run / "training.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in (run / "model").iterdir()) == ["card.json", "weights.safetensors"]


def test_a_run_is_not_overwritten(run, drives, capsys):
    assert main(["--data", str(drives), "--out", str(run), *STEPS]) == 2
    assert "--resume" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_where_it_was(drives, tmp_path):
    arguments = ["--data", str(drives), "--out", str(tmp_path / "run"), *STEPS, "--held-out", "0"]
    command = [sys.executable, "-m", "feedback_service.finetune.clip.command", *arguments]
    process = subprocess.Popen(
        [*command, "--epochs", "1000", "--report-every", "64"],
        stderr=subprocess.PIPE,
        # a test run in the background ignores interrupts, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    checkpoint, begin = tmp_path / "run" / "checkpoint.safetensors", time.monotonic()
    while not checkpoint.exists() and time.monotonic() - begin < 120:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and b"--resume" in errors
    before = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])["samples"]
    assert main([*arguments, "--resume", "--epochs", "1000", "--minutes", "0.0001"]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["history"][0]["samples"] == 64 and report["training"]["samples"] >= before


def test_settings_cannot_change_on_the_way(run, drives, tmp_path, capsys):
    arguments = ["--data", str(drives), "--out", str(run), *STEPS, "--resume", "--held-out", "0"]
    assert main([*arguments, "--seed", "7"]) == 2
    assert "another --seed" in capsys.readouterr().err


def test_webdataset_shards_hold_the_captions_and_train_alike(drives, tmp_path, capsys):
    assert main(["--data", str(drives), "--export-webdataset", str(tmp_path / "tar"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "webdataset": str(tmp_path / "tar"),
        "shards": 1,
        "pictures": 480,
    }
    recorded, shards = load_pictures([drives]), load_shards([tmp_path / "tar"])
    assert shards.png == recorded.png
    np.testing.assert_array_equal(shards.context, recorded.context)
    np.testing.assert_array_equal(shards.anchor, recorded.anchor)
    run = ["--data", str(tmp_path / "tar"), "--out", str(tmp_path / "run"), *STEPS]
    assert main([*run, "--epochs", "0.2", "--loss", "contrastive"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "{drives}", "--out", "x", "--batch", "1"], "--batch is 1"),
        (["--data", "{drives}", "--out", "x", "--image-size", "100"], "multiples of 32"),
        (["--data", "{drives}", "--out", "x", "--model", "ViT-B-16"], "--weights"),
        (["--data", "{drives}", "--out", "x", "--weights", "w"], "--model"),
        (["--data", "nothing-here", "--out", "x"], "nothing-here"),
        (["--out", "x"], "--data is missing"),
        (
            ["--data", "{drives}", "--out", "x", "--model", "ViT-B-99", "--weights", "w.safetensors"],
            "ViT-B-99",
        ),
        (["--data", "{drives}", "--out", "x", "--model", "ViT-B-16", "--weights", "w.pt"], "safetensors"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(drives, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main([text.replace("{drives}", str(drives)) for text in arguments]) == 2
    captured = capsys.readouterr().err
    assert words in captured.splitlines()[-1] and "Traceback" not in captured


def test_mirroring_exchanges_left_and_right():
    left, right = LATERAL.index("turning left"), LATERAL.index("turning right sharply")
    contexts, anchors = mirrored(np.array([0 * 4 + 2, 5 * 4 + 1, 3 * 4]), np.array([5 + left, right, 15]))
    assert contexts.tolist() == [1 * 4 + 2, 4 * 4 + 1, 3 * 4]
    expected = [5 + LATERAL.index("turning right"), LATERAL.index("turning left sharply"), 15]
    assert anchors.tolist() == expected
    back = mirrored(contexts, anchors)
    assert back[0].tolist() == [2, 21, 12] and back[1].tolist() == [5 + left, right, 15]
    assert "turn right" in caption(int(contexts[0]) // 4, 2, 1, 2)


def test_balancing_draws_rare_labels_of_a_context_more_often():
    context, anchor = np.zeros(1000, np.int64), np.repeat([0, 1, 2], [900, 99, 1])
    weight = balanced(context, anchor, 1.0)
    assert weight[:900].sum() == pytest.approx(weight[900:999].sum())
    assert weight[999] < weight[900:999].sum() / 10, "single rows are not drawn for ever"
    np.testing.assert_allclose(balanced(context, anchor, 0.0), 1)


def test_the_random_rows_depend_on_the_seed_alone(drives):
    from feedback_service.finetune.clip.batches import Batches
    from feedback_service.finetune.clip.start import small_card

    pictures = load_pictures([drives], held_out_share=0.4)
    assert 0 < pictures.held_out.mean() < 1
    batches = Batches(pictures, small_card("x", 32), 16, 0.5, mirror=0.5, shift=3)
    one, other = (batches.draw(np.random.default_rng(3)) for _ in range(2))
    assert one.pixels.equal(other.pixels) and one.anchor.equal(other.anchor)
    assert one.pixels.shape == (16, 3, 32, 32)


def test_every_nth_row_and_whole_episodes_are_held_out(drives):
    assert len(load_pictures([Path(drives)], every=4)) == 120
    held = load_pictures([drives], held_out_share=0.4).held_out.reshape(8, 60)
    assert (held.all(axis=1) | ~held.any(axis=1)).all()
