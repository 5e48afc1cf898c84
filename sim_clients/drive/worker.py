"""A worker process: one environment, driven by what its parent sends."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from codriver.errors import CodriverError
from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.disturbance import Disturber
from sim_clients.drive.feedback_rule import FeedbackMarker
from sim_clients.drive.messages import Row, decode_action, decode_task, encode_row
from sim_clients.drive.recorder import EpisodeRecorder
from sim_clients.drive.rows import RowEncoder, hide, row_info
from sim_clients.environment import DrivingEnvironment, StepResult
from sim_clients.expert.blind import BlindDriver
from sim_clients.expert.expert import Expert
from sim_clients.expert.speed_bin import act_on_speed_bin
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import Scene
from sim_clients.simulator import EpisodeTask, SimulatorError
from sim_clients.simulators import load_simulator

CALM_BRAKING = -0.2
"""A disturbance is not started while the expert brakes harder than this."""
_EXPERT_STRETCH_STEPS = 40


class Worker:
    """Steps one environment, chooses or takes actions, and records.

    Args:
        config: What to run.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        simulator = load_simulator(config.simulator)(config.town)
        self._marker = FeedbackMarker(config.marking) if config.marking is not None else None
        self._environment = DrivingEnvironment(
            simulator, config.mode, picture=self._wants_picture, max_steps=config.max_steps
        )
        self._rng = np.random.default_rng((config.seed, config.env))
        self._expert = Expert(simulator.map)
        self._driver = BlindDriver(simulator.map) if config.driver == "blind" else self._expert
        self._labels = config.recording is not None or config.driver == "expert" or config.expert_share > 0
        self._disturber = Disturber(config.perturbation, self._rng)
        self._encoder = RowEncoder(
            config.env,
            tensors=config.driver == "server",
            picture=config.picture,
            feedback=config.marking is not None,
        )
        self._recorder = (
            EpisodeRecorder(config.recording, config.env) if config.recording is not None else None
        )
        self._episode = 0
        self._step = 0
        self._task: EpisodeTask | None = None
        self._result: StepResult | None = None
        self._label: NDArray[np.float32] = np.zeros(2, np.float32)
        self._speed_bin_label: NDArray[np.float32] | None = None
        self._expert_drives = False

    def begin(self, task: EpisodeTask, episode: int) -> Row:
        """Begins an episode."""
        self._task = task
        self._episode, self._step = episode, 0
        # The noise of an episode depends on its task alone, so that it can be driven again.
        self._rng = np.random.default_rng((self._config.seed, task.route_seed, task.traffic_seed))
        self._disturber = Disturber(self._config.perturbation, self._rng)
        if self._marker is not None:
            self._marker.reset()
        self._result = self._environment.reset(task)
        self._expert.reset(self._result.scene)
        if self._driver is not self._expert:
            self._driver.reset(self._result.scene)
        if self._recorder is not None:
            self._recorder.begin(task)
        return self._row()

    def advance(self, action: NDArray[np.float32] | None) -> Row:
        """Applies an action, or the worker's own driver's if None, and returns the row that follows."""
        assert self._result is not None, "an episode must have begun"
        chosen = self._choose(action)
        calm = float(self._label[0]) > CALM_BRAKING
        applied = self._disturber(chosen, calm=calm)
        before = self._result
        self._result = self._environment.step(applied)
        self._step += 1
        if self._recorder is not None:
            self._recorder.add(before, self._label, applied, self._result, self._speed_bin_label)
        return self._row()

    def _wants_picture(self, scene: Scene, report: RuleReport) -> bool:
        recording = self._config.recording
        for_coaches = self._marker is not None and self._marker.needs_picture(scene, report)
        return for_coaches or self._config.picture or (recording is not None and recording.pictures)

    def _choose(self, action: NDArray[np.float32] | None) -> NDArray[np.float32]:
        result = self._result
        assert result is not None
        if self._labels:
            self._label = self._expert.act(result.scene, result.report)
        if self._config.recording is not None and self._config.recording.speed_bin_labels:
            self._speed_bin_label = act_on_speed_bin(self._expert, result.scene, result.report)
        if self._config.driver == "blind":
            return self._driver.act(result.scene, result.report)
        if action is None:
            return self._label
        if self._config.expert_share > 0 and self._step % _EXPERT_STRETCH_STEPS == 0:
            self._expert_drives = bool(self._rng.random() < self._config.expert_share)
        return self._label if self._expert_drives else action

    def _row(self) -> Row:
        result = self._result
        assert result is not None and self._task is not None
        observation = hide(result.observation, self._config.hidden)
        marked = self._marker is not None and self._marker.mark(observation.picture, last=result.kind.last)
        batch = self._encoder.encode(result, observation, self._episode, self._step, marked=marked)
        info = row_info(result)
        if result.kind.last:
            assert result.end_reason is not None
            info["record"] = self._environment.record(result.end_reason).to_json()
            if self._recorder is not None:
                info["cut_away"] = not self._recorder.finish(result.end_reason)
        return Row(batch, info)

    def close(self) -> None:
        """Closes recorder and simulator."""
        if self._recorder is not None:
            self._recorder.close()
        self._environment.close()


def run_worker(pipe: Connection, config_json: str) -> None:
    """Entry point of a worker process: answers its parent until told to quit or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    worker: Worker | None = None
    try:
        worker = Worker(WorkerConfig.from_json(config_json))
        while (message := pipe.recv_bytes())[:1] != b"Q":
            if message[:1] == b"T":
                row = worker.begin(*decode_task(message))
            else:
                row = worker.advance(decode_action(message))
            pipe.send_bytes(encode_row(row))
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except (CodriverError, SimulatorError, OSError, ValueError) as error:
        pipe.send_bytes(b"X" + " ".join(str(error).split()).encode())
    finally:
        if worker is not None:
            worker.close()
