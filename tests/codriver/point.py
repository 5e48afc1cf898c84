"""A point on a line, as a simulator client of ``RemoteEnv`` and as a Gymnasium environment of its own.

It starts at 0.25, moves by a tenth of the acceleration, and terminates beyond 1; an episode is cut after 8 steps.
"""

from __future__ import annotations

import threading

import numpy as np

from codriver.errors import CodriverError, FrameFailedError
from codriver.policy import RemotePolicy
from codriver.v1 import observation_pb2, tensor_pb2

LENGTH = 8


def point_spec():
    spec = observation_pb2.ObservationSpec()
    spec.tensors.add(
        name="state", dtype=tensor_pb2.DTYPE_FLOAT32, shape=[2], encoding=tensor_pb2.ENCODING_RAW
    )
    spec.tensors.add(
        name="strip",
        dtype=tensor_pb2.DTYPE_UINT8,
        shape=[1, 1, 16],
        encoding=tensor_pb2.ENCODING_BIT_PLANES,
        palettes=[tensor_pb2.Palette(levels=b"\x00\x01")],
    )
    return spec


def point_observation(x, step):
    strip = np.zeros((1, 1, 16), np.uint8)
    strip[0, 0, int(np.clip(x * 8 + 8, 0, 15))] = 1
    return {"state": np.array([x, step / LENGTH], np.float32), "strip": strip}


class PointSimulator(threading.Thread):
    """Drives episodes until its server is gone; a refused row makes it begin the next episode."""

    def __init__(self, address, episodes=None, reward=True, leave_after=None):
        super().__init__(daemon=True)
        self.address, self.episodes, self.reward, self.leave_after = address, episodes, reward, leave_after
        self.lengths, self.refused, self.error, self.actions = [], 0, None, []

    def run(self):
        try:
            with RemotePolicy(self.address, observation_spec=point_spec(), timeout_s=100) as policy:
                while self.episodes is None or len(self.lengths) < self.episodes:
                    try:
                        if not self._episode(policy):
                            return
                    except FrameFailedError:
                        self.refused += 1
        except CodriverError as error:
            self.error = error

    def _episode(self, policy):
        x = 0.25
        action = policy.infer(point_observation(x, 0))
        for step in range(1, LENGTH + 1):
            self.actions.append(float(action[0]))
            x += float(action[0]) / 10
            over = abs(x) > 1
            action = policy.infer(
                point_observation(x, step),
                rewards=[x] if self.reward else None,
                terminated=[over],
                truncated=[not over and step == LENGTH],
                applied_actions=action,
            )
            if self.leave_after is not None and step == self.leave_after:
                return False
            if over:
                break
        self.lengths.append(step)
        return True
