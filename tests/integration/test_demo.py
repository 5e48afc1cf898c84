"""``codriver demo``: drives, draws the contact sheet, ends by itself and leaves nothing running."""

from __future__ import annotations

import cv2
import pytest

from sim_clients.demo.contact_sheet import _CAPTION_PX, _COLUMNS, _GAP_PX, _ROWS, _TITLE_PX
from tests.integration.helpers import codriver

SIZE = (
    _TITLE_PX + _ROWS * (192 + _CAPTION_PX + _GAP_PX) + _GAP_PX,
    _COLUMNS * (192 + _GAP_PX) + _GAP_PX,
    3,
)


def demo(policy_path, out, *arguments):
    return codriver(
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
    ended = demo(policy_path, tmp_path / "out", *look, "--steps", "60", "--json")
    assert (ended.status, ended.left) == (0, []), ended.err
    figures = ended.figures
    assert figures["steps"] == 60 and figures["town"] == "acorn"
    assert figures["policy"].startswith("untrained") and figures["inference_ms"] > 0
    sheet = tmp_path / "out" / "contact_sheet.png"
    image = cv2.imread(str(sheet))
    assert image is not None and image.shape == SIZE
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
    line = demo(tmp_path / "none", tmp_path / "out", "--headless").refusal("demo")
    assert "does not exist" in line and str(tmp_path / "none") in line
