"""``codriver demo``: drives, draws the contact sheet, ends by itself and leaves nothing running."""

from __future__ import annotations

import signal
import threading
import time

import cv2
import pytest

from codriver.v1 import feedback_pb2
from feedback_service.coach_environment import find
from sim_clients.demo.contact_sheet import COLUMNS, GAP_PX, ROWS, TITLE_PX, caption_px
from tests.codriver.coaching.feedback_peer import CLIP, FeedbackPeer, answer_to
from tests.integration.helpers import Program, codriver, wait_until


def size(coaches, rows=ROWS):
    return (
        TITLE_PX + rows * (192 + caption_px(coaches) + GAP_PX) + GAP_PX,
        COLUMNS * (192 + GAP_PX) + GAP_PX,
        3,
    )


def demo(policy_path, out, *arguments, start=codriver):
    return start(
        "demo",
        "--town",
        "acorn",
        "--vehicles",
        "5",
        "--walkers",
        "3",
        "--policy",
        policy_path,
        "--out",
        out,
        *arguments,
    )


@pytest.mark.parametrize("view", ["headless", "rrd"])
def test_it_ends_by_itself(view, policy_path, tmp_path):
    recording = tmp_path / "drive.rrd"
    look = ["--headless"] if view == "headless" else ["--rrd", recording]
    ended = demo(policy_path, tmp_path / "out", *look, "--coach", "off", "--steps", "60", "--json")
    assert (ended.status, ended.left) == (0, []), ended.err
    figures = ended.figures
    assert figures["steps"] == 60 and figures["town"] == "acorn"
    assert figures["policy"].startswith("untrained") and figures["inference_ms"] > 0
    sheet = tmp_path / "out" / "contact_sheet.png"
    image = cv2.imread(str(sheet))
    assert image is not None and image.shape == size(0) and "coaching" not in figures
    assert len({tuple(pixel) for pixel in image[::7, ::7].reshape(-1, 3).tolist()}) > 10
    if view == "headless":
        assert figures["files"] == [str(sheet)] and not recording.exists()
    else:
        assert figures["files"] == [str(sheet), str(recording)]
        content = recording.read_bytes()
        assert content.startswith(b"RRF") and len(content) > 50_000
        for name in (
            b"map/route",
            b"masks",
            b"picture",
            b"action/steer",
            b"value",
            b"reward/speed",
            b"latency/queue",
        ):
            assert name in content


def test_a_policy_that_is_not_there_is_one_line(tmp_path):
    line = demo(tmp_path / "none", tmp_path / "out", "--headless", "--coach", "off").refusal("demo")
    assert "does not exist" in line and str(tmp_path / "none") in line


def opinionated(peer, request):
    """Every third picture overwhelms the vision-language model."""
    if request.kind != CLIP and request.key.step % 15 == 0:
        feedback = answer_to(request)
        feedback.unavailable.reason = feedback_pb2.UNAVAILABLE_REASON_UNPARSEABLE
        return [feedback]
    return [answer_to(request)]


def test_what_coaches_say_is_shown_beside_the_action(policy_path, tmp_path):
    recording = tmp_path / "drive.rrd"
    with FeedbackPeer(tmp_path / "f", opinionated) as peer:
        ended = demo(
            policy_path, tmp_path / "out", "--rrd", recording, "--steps", "63", "--json",
            "--coach", "wait", "--feedback", peer.address,
        )  # fmt: skip
    assert (ended.status, ended.left) == (0, []), ended.err
    assert "demo: coach: clip and vlm have joined" in ended.err
    coaching = ended.figures["coaching"]
    vlm, clip = coaching["coaches"]["vlm"], coaching["coaches"]["clip"]
    assert vlm["asked"] == clip["asked"] == 13  # steps 0, 5, ... 60
    assert vlm["unavailable"] == {"UNPARSEABLE": 5} and 0.5 < vlm["availability"] < 0.8
    assert clip["availability"] == 1.0 and clip["age_steps_p50"] <= 3
    assert coaching["joined"]["vlm"]["step"] == 0 and coaching["trouble"] == ""
    assert [request.key.step for request in peer.asked if request.coach == "clip"] == list(range(0, 61, 5))
    image = cv2.imread(str(tmp_path / "out" / "contact_sheet.png"))
    assert image.shape == size(2, rows=3)  # the 13 steps that were asked about
    content = recording.read_bytes()
    for name in (b"coach/now", b"action/vlm_steer", b"coach/margin/clip", b"coach/age/vlm"):
        assert name in content


def test_the_vision_language_model_drives_by_itself(tmp_path):
    with FeedbackPeer(tmp_path / "f") as peer:
        ended = demo("vlm", tmp_path / "out", "--headless", "--steps", "30", "--feedback", peer.address)
    assert (ended.status, ended.left) == (0, []), ended.err
    assert "peer drove 3 s" in ended.out and "at 0 of 30 steps" in ended.out
    assert [request.key.step for request in peer.asked] == list(range(30))


def test_a_coach_that_does_not_come_is_named_and_does_not_hold_up_the_drive(policy_path, tmp_path):
    nowhere = f"unix:{tmp_path}/nowhere"
    arguments = ("--headless", "--steps", "40", "--feedback", nowhere)
    ended = demo(policy_path, tmp_path / "out", *arguments)
    assert (ended.status, ended.left) == (0, []), ended.err
    assert "none was up before the drive ended" in ended.out and "--coach wait" in ended.out
    assert "vlm: 0 of 8 answers" in ended.out and nowhere in ended.out


def test_a_coach_joins_a_running_drive_and_an_interrupt_ends_everything(policy_path, tmp_path):
    program = demo(
        policy_path, tmp_path / "out", "--headless", "--steps", "5000", "--feedback", f"unix:{tmp_path}/f",
        start=Program,
    )  # fmt: skip
    try:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(program.process.stderr), daemon=True)
        reader.start()
        assert wait_until(lambda: any("starting sumo" in line for line in lines), 100.0), lines
        time.sleep(1.0)
        with FeedbackPeer(tmp_path / "f") as peer:
            assert wait_until(lambda: any("have joined after" in line for line in lines), 60.0), lines
            assert wait_until(lambda: len(peer.asked) > 10, 60.0)
            program.process.send_signal(signal.SIGINT)
            assert program.process.wait(60.0) == 130
        reader.join()
        assert program.left() == [] and "codriver demo: stopped\n" in lines
    finally:
        program.end()


@pytest.mark.skipif(find() is None, reason="the coaches' environment is not there (make coach)")
@pytest.mark.timeout(600)
def test_the_real_coaches_comment_on_a_drive(policy_path, tmp_path):
    """A Triton with the shipped models, started by the demo and gone with it."""
    ended = demo(
        policy_path, tmp_path / "out", "--headless", "--steps", "31", "--coach", "wait", "--feedback-credits", "4",
        "--json", start=lambda *arguments: Program(*arguments).finish(500.0),
    )  # fmt: skip
    assert (ended.status, ended.left) == (0, []), ended.err
    for name in ("vlm", "clip"):
        account = ended.figures["coaching"]["coaches"][name]
        assert account["asked"] == 7 and account["values"] >= 1 and account["unavailable"] == {}, account
