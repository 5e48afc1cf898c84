"""Drives that are drawn, not driven: the picture tells the action."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from codriver.dataset import EpisodeData, ShardWriter, merge_manifests
from codriver.driving import action_spec, observation_spec, to_action
from codriver.v1 import observation_pb2

SIZE = 192
_ROAD, _ROUTE, _RED, _EGO = (46, 52, 54), (136, 138, 133), (255, 0, 0), (255, 255, 255)
STEERS = (0.0, 0.4, 0.15, -0.4, -0.15)
"""By lateral class."""


def draw(lateral: int, blocked: bool, rng: np.random.Generator) -> bytes:
    """A route that bends as the car should steer, and a red line ahead where it should brake."""
    image = np.full((SIZE, SIZE, 3), _ROAD, np.uint8)
    bend = STEERS[lateral] * 200
    for row in range(150):
        middle = int(96 + bend * ((150 - row) / 150) ** 2 + rng.integers(-1, 2))
        image[row, max(middle - 8, 0) : max(middle + 8, 0)] = _ROUTE
    if blocked:
        image[100:108, 80:112] = _RED
    image[140:165, 90:102] = _EGO
    file = io.BytesIO()
    Image.fromarray(image).quantize(8).save(file, "PNG")
    return file.getvalue()


def record(directory: Path, episodes: int, rows: int, seed: int, oracle: bool = False) -> Path:
    """Writes a dataset of drawn drives: straight, right or left, braking or accelerating."""
    rng = np.random.default_rng(seed)
    spec = observation_spec(picture=True)
    del spec.tensors[0]
    origin = {"collector": "drawn", "simulator": "none", "town": "none", "seed": seed}
    with ShardWriter(directory, spec, action_spec(), origin) as writer:
        for episode in range(episodes):
            lateral = rng.choice([0, 2, 4], rows)
            blocked = rng.random(rows) < 0.5
            steer = np.array(STEERS)[lateral]
            control = np.stack([np.where(blocked, 0, 0.5), steer, np.where(blocked, 0.3, 0)], axis=1)
            kinds = np.full(rows, observation_pb2.STEP_KIND_MID)
            kinds[0], kinds[-1] = observation_pb2.STEP_KIND_FIRST, observation_pb2.STEP_KIND_TRUNCATED
            action = to_action(control)
            writer.add_episode(
                EpisodeData(
                    id=f"drawn-{seed}-{episode}",
                    tensors={"state": np.zeros((rows, 10), np.float32)},
                    expert_action=action,
                    applied_action=action,
                    reward=np.zeros(rows),
                    step_kind=kinds,
                    command=rng.choice([1, 4], rows),
                    forward_speed_mps=rng.choice([0.0, 6.0], rows),
                    target_m=np.zeros((rows, 2)),
                    pictures=[draw(a, b, rng) for a, b in zip(lateral, blocked)],
                    expert_action_speed_bin=action if oracle else None,
                )
            )
    merge_manifests(directory)
    return directory
