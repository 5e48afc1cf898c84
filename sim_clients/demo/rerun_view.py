"""The live view: a Rerun recording that a window, a browser tab or a file shows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from sim_clients.demo.coach_panel import CoachPanel
from sim_clients.demo.frames import Frame
from sim_clients.simulator import SimulatorError

_MASK_GROUPS = {
    "static": slice(0, 3),
    "vehicles": slice(3, 7),
    "walkers": slice(7, 11),
    "stops": slice(11, 15),
}
_START_TIMEOUT_S = 30.0
_TRACK_STEPS = 5
"""The driven track is logged whole, and so only on every 5th step."""


def _blueprint(coach: list[Any]) -> rrb.Blueprint:
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial2DView(origin="picture", name="Picture (VLM)"),
                rrb.Spatial2DView(origin="map", name="Route"),
            ),
            rrb.Vertical(rrb.Spatial2DView(origin="masks", name="BEV masks (policy)"), *coach),
            rrb.Vertical(
                rrb.TimeSeriesView(origin="action", name="Action"),
                rrb.TimeSeriesView(origin="reward", name="Reward terms"),
                rrb.TimeSeriesView(origin="value", name="Value"),
                rrb.TimeSeriesView(origin="speed", name="Speed (m/s)"),
                rrb.TimeSeriesView(origin="latency", name="Queue and inference (ms)"),
            ),
            column_shares=(3, 3, 4),
        ),
        collapse_panels=True,
    )


class RerunView:
    """Logs frames of environment 0.

    Args:
        target: "window", "web", or the path of an ``.rrd`` file to write.
        coach: What coaches say, to be shown too. None: nobody is asked.

    Attributes:
        where: One line for people: where to look.
        file: The recording's file, if it is written to one.

    Raises:
        SimulatorError: The viewer did not start.
    """

    def __init__(self, target: str | Path, coach: CoachPanel | None = None) -> None:
        self._recording = rr.RecordingStream("codriver")
        self._viewer: subprocess.Popen[bytes] | None = None
        self._track: list[tuple[float, float]] = []
        self._episode = -1
        self.file = target if isinstance(target, Path) else None
        if isinstance(target, Path):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._recording.save(str(target))
            self.where = f"recording to {target} (look at it with: .venv/bin/rerun {target})"
        else:
            self.where = self._start_viewer(web=target == "web")
        self._coach = coach
        self._recording.send_blueprint(_blueprint([] if coach is None else coach.views()))
        if coach is not None:
            coach.styles(self._recording)

    def _start_viewer(self, *, web: bool) -> str:
        port, web_port = _free_port(), _free_port()
        # The SDK's own servers listen on every interface; the program can be told not to.
        command = [sys.executable, "-m", "rerun", "--bind", "127.0.0.1", "--port", str(port)]
        if web:
            command += ["--serve-web", "--web-viewer-port", str(web_port)]
        # A session of its own: Ctrl-C ends the drive and not the view, and the launcher's child ends with it.
        self._viewer = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _listens(port):
            if self._viewer.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SimulatorError("the Rerun viewer did not start; try --web, --rrd FILE or --headless")
            time.sleep(0.1)
        proxy = f"rerun+http://127.0.0.1:{port}/proxy"
        self._recording.connect_grpc(proxy)
        if not web:
            return "the Rerun window shows the drive"
        return f"open http://127.0.0.1:{web_port}?url={proxy.replace('+', '%2B')} in a browser"

    def add(self, frame: Frame) -> None:
        """Logs a frame."""
        if frame.env != 0:
            return
        log, recording = rr.log, self._recording
        rr.set_time("drive", duration=frame.info["time_s"], recording=recording)
        rr.set_time("step", sequence=frame.step, recording=recording)
        if frame.episode != self._episode:
            self._episode, self._track = frame.episode, []
            if "route" in frame.info:
                route = np.array(frame.info["route"]) * (1, -1)
                strip = rr.LineStrips2D([route], colors=[(136, 138, 133)], radii=1.5)
                log("map/route", strip, recording=recording)
        here = (frame.info["x"], -frame.info["y"])
        if frame.step % _TRACK_STEPS == 0:
            self._track.append(here)
        log("picture", rr.Image(frame.picture).compress(90), recording=recording)
        log("masks", rr.Image(mask_mosaic(frame.masks)).compress(90), recording=recording)
        if frame.step % _TRACK_STEPS == 0:
            track = rr.LineStrips2D([self._track], colors=[(0, 150, 255)], radii=1.0)
            log("map/driven", track, recording=recording)
        log("map/ego", rr.Points2D([here], colors=[(255, 60, 60)], radii=4.0), recording=recording)
        log("action/acceleration", rr.Scalars(float(frame.action[0])), recording=recording)
        log("action/steer", rr.Scalars(float(frame.action[1])), recording=recording)
        for name, value in frame.info["terms"].items():
            log(f"reward/{name}", rr.Scalars(value), recording=recording)
        if frame.value is not None:
            log("value", rr.Scalars(frame.value), recording=recording)
        log("speed", rr.Scalars(frame.info["speed_mps"]), recording=recording)
        log("latency/queue", rr.Scalars(frame.queue_ms), recording=recording)
        log("latency/inference", rr.Scalars(frame.inference_ms), recording=recording)
        if self._coach is not None:
            self._coach.log(frame, recording)

    @property
    def shows(self) -> bool:
        """True while a viewer runs in which people look."""
        return self._viewer is not None and self._viewer.poll() is None

    def finish(self) -> None:
        """Flushes what is logged; a viewer goes on showing it."""
        self._recording.flush()
        self._recording.disconnect()

    def wait(self) -> None:
        """Waits until the viewer is closed; a viewer in the browser is closed with :meth:`stop`."""
        if self._viewer is not None:
            self._viewer.wait()

    def stop(self) -> None:
        """Ends the viewer."""
        if self._viewer is None or self._viewer.poll() is not None:
            return
        os.killpg(self._viewer.pid, signal.SIGTERM)
        try:
            self._viewer.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            os.killpg(self._viewer.pid, signal.SIGKILL)
            self._viewer.wait()


def mask_mosaic(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays the 15 channels out as four rows: static, vehicles, walkers, stops; (4 * 96, 4 * 96) uint8."""
    size = masks.shape[-1]
    mosaic = np.zeros((4 * size, 4 * size), np.uint8)
    for row, channels in enumerate(_MASK_GROUPS.values()):
        for column, mask in enumerate(masks[channels]):
            mosaic[row * size : (row + 1) * size, column * size : (column + 1) * size] = mask
    return mosaic


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
