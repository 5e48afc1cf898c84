"""The environment around a simulator."""

import numpy as np
import pytest

from sim_clients.environment import DrivingEnvironment, StepKind
from sim_clients.simulator import EpisodeTask, SimulatorError
from sim_clients.termination import EndReason
from tests.sim_clients.scenes import MAP, ego, scene

FULL_THROTTLE = np.array([1.0, 0.0], np.float32)


class Standing:
    """A simulator whose ego stands whatever is done."""

    map = MAP

    def reset(self, task):
        self._time_s = 0.0
        return scene(ego(x=50.0))

    def step(self, control):
        self._time_s += 0.1
        return scene(ego(x=50.0, control=control), time_s=self._time_s)

    def close(self):
        pass


def test_an_ended_episode_takes_no_further_step():
    environment = DrivingEnvironment(Standing(), "train", max_steps=2)
    task = EpisodeTask(1, 1)
    for _ in range(2):
        assert environment.reset(task).kind is StepKind.FIRST
        assert environment.step(FULL_THROTTLE).kind is StepKind.MID
        last = environment.step(FULL_THROTTLE)
        assert (last.kind, last.end_reason) == (StepKind.TRUNCATED, EndReason.STEP_LIMIT)
        with pytest.raises(SimulatorError, match="the episode has ended: call reset"):
            environment.step(FULL_THROTTLE)
        assert environment.record(EndReason.STEP_LIMIT).steps == 2
