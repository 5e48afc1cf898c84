"""What the expert would do if it knew the ego's speed only as its bin: the most that a coach can know of it.

A coach reads the speed from its prompt, where it stands as one of four bins (``codriver.coaching.vocabulary``). Its
answers are measured against those of an expert that is told no more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codriver.coaching.vocabulary import speed_index
from sim_clients.expert.expert import Expert
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import Ego, Scene

BIN_SPEEDS_MPS: tuple[float, ...] = (0.0, 1.0, 3.3, 5.9)
"""The speed that stands for each bin: its mean over 180,000 recorded rows of the expert's driving (0.00, 1.02, 3.34
and 5.86 m/s in alder; 0.00, 1.00, 3.30 and 5.89 in birch)."""


def speed_as_bin(ego: Ego) -> Ego:
    """Returns the ego with the speed that stands for its bin, along its heading; everything else is kept."""
    speed = BIN_SPEEDS_MPS[speed_index(ego.forward_speed_mps)]
    return replace(ego, velocity=speed * np.array([np.cos(ego.yaw), np.sin(ego.yaw)]))


def act_on_speed_bin(expert: Expert, scene: Scene, report: RuleReport) -> NDArray[np.float32]:
    """Asks an expert that has seen this scene once more, with the speed as its bin. It remembers nothing of it.

    Args:
        expert: The expert; how long the ego has been standing it knows from what really happened.
        scene: The scene.
        report: What the rules say of it.

    Returns:
        (2,) float32 action: acceleration and steer, each in [-1, 1].
    """
    return expert.act_if(replace(scene, ego=speed_as_bin(scene.ego)), report)
