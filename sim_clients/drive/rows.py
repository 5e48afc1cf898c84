"""From a step of an environment to a row of the wire."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, cast

import numpy as np

from codriver.codecs.column import encode_column
from codriver.driving import PICTURE_SIZE_PX, observation_spec
from codriver.v1 import observation_pb2
from sim_clients.environment import StepKind, StepResult
from sim_clients.observation.observer import Observation
from sim_clients.scene import Floats, Scene

_TRAFFIC_CHANNELS = slice(3, 11)
_LIGHT_CHANNELS = slice(11, 15)
_LIGHT_ITEMS = slice(6, 10)
_NO_LIGHT = (0.0, -1.0, -1.0, 0.0)
_NO_PICTURES = np.zeros((0, PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3), np.uint8)
TARGET_AHEAD_M = 50.0
"""Distance of the route target that coaches are told."""


def hide(observation: Observation, hidden: tuple[str, ...]) -> Observation:
    """Returns the observation with groups of it blanked out ("traffic", "lights"), to show what they are worth."""
    if not hidden:
        return observation
    masks, state = observation.masks.copy(), observation.state.copy()
    if "traffic" in hidden:
        masks[_TRAFFIC_CHANNELS] = 0
    if "lights" in hidden:
        masks[_LIGHT_CHANNELS] = 0
        state[_LIGHT_ITEMS] = _NO_LIGHT
    return replace(observation, masks=masks, state=state)


class RowEncoder:
    """Encodes one environment's steps as batches of one row.

    Args:
        env: Index of the environment.
        tensors: True sends what was observed; False only keys and reward, for rows that no server answers.
        picture: True adds the picture to each row.
        feedback: True for a session with coaches: rows say whether they want feedback, and carry a picture if so.
    """

    def __init__(
        self, env: int, *, tensors: bool = True, picture: bool = False, feedback: bool = False
    ) -> None:
        self._env = env
        self._tensors = tensors
        self._picture = picture
        self._feedback = feedback
        self._specs = {spec.name: spec for spec in observation_spec(picture=picture or feedback).tensors}

    def encode(
        self, result: StepResult, observation: Observation, episode: int, step: int, *, marked: bool = False
    ) -> observation_pb2.ObservationBatch:
        """Returns the row of a step.

        Args:
            result: The step.
            observation: What is seen of it.
            episode: Of the key.
            step: Of the key.
            marked: True if the row wants feedback.
        """
        batch = observation_pb2.ObservationBatch(
            env=[self._env],
            episode=[episode],
            step=[step],
            step_kind=[cast("observation_pb2.StepKind", int(result.kind))],
            reward=[result.terms.total],
            applied_action=result.action.tolist(),
            observed_at_us=[time.monotonic_ns() // 1000],
        )
        if not self._tensors:
            return batch
        batch.tensors.append(encode_column(self._specs["bev_masks"], observation.masks[None]))
        batch.tensors.append(encode_column(self._specs["state"], observation.state[None]))
        if self._feedback:
            batch.wants_feedback.append(marked)
            if marked:
                batch.feedback_context.append(feedback_context(result))
        if "picture" in self._specs:
            sent = observation.picture is not None and (self._picture or marked)
            pictures = observation.picture[None] if sent and observation.picture is not None else _NO_PICTURES
            batch.tensors.append(encode_column(self._specs["picture"], pictures))
        return batch


def feedback_context(result: StepResult) -> observation_pb2.FeedbackContext:
    """Returns what coaches are told of a step beside its picture."""
    progress = result.report.progress
    x, y = target_in_ego_frame(result.scene, progress.index).tolist()
    return observation_pb2.FeedbackContext(
        command=cast("observation_pb2.RouteCommand", int(progress.command)),
        forward_speed_mps=result.scene.ego.forward_speed_mps,
        target_x_m=x,
        target_y_m=y,
    )


def target_in_ego_frame(scene: Scene, index: int) -> Floats:
    """Returns the route point ``TARGET_AHEAD_M`` ahead in the ego frame: (2,) x forward, y left, in metres."""
    points = scene.route.points
    point = points[min(index + int(TARGET_AHEAD_M), len(points) - 1)]
    dx, dy = point[0] - scene.ego.x, point[1] - scene.ego.y
    cos, sin = np.cos(scene.ego.yaw), np.sin(scene.ego.yaw)
    return np.array([dx * cos + dy * sin, dy * cos - dx * sin])


def row_info(result: StepResult) -> dict[str, Any]:
    """Returns facts of a step for people and logs, JSON-able."""
    progress = result.report.progress
    info: dict[str, Any] = {
        "time_s": result.scene.time_s,
        "speed_mps": result.scene.ego.speed_mps,
        "x": result.scene.ego.x,
        "y": result.scene.ego.y,
        "command": progress.command.name,
        "route_share": progress.share,
        "terms": result.terms._asdict(),
        "end_reason": None if result.end_reason is None else result.end_reason.value,
    }
    if result.kind is StepKind.FIRST:
        info["route"] = result.scene.route.points[::2].round(1).tolist()
    return info
