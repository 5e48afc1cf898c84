"""A driven step in the form that views show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codriver.codecs.column import decode_column
from codriver.driving import observation_spec
from codriver.v1 import action_pb2
from sim_clients.drive.loop import Step


@dataclass(frozen=True)
class Frame:
    """What a view shows of one step.

    Attributes:
        env: Environment.
        episode: Its episode.
        step: Its step.
        masks: (15, 96, 96) uint8.
        picture: (192, 192, 3) uint8.
        info: Facts of the row (time, speed, route share, reward terms, end reason).
        reward: Reward of the transition into this step.
        action: (2,) answered action; zeros on the last step.
        applied: (2,) action that was applied on the way into this step; zeros in the first.
        marked: True if coaches were asked about it.
        value: Estimated return, or None when the policy estimates none.
        queue_ms: Time in the server's queue, in milliseconds.
        inference_ms: Duration of the forward pass, in milliseconds.
        policy: Policy id and version, or an empty string.
    """

    env: int
    episode: int
    step: int
    masks: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    info: dict[str, Any]
    reward: float
    action: NDArray[np.float32]
    applied: NDArray[np.float32]
    marked: bool
    value: float | None
    queue_ms: float
    inference_ms: float
    policy: str


def to_frame(step: Step) -> Frame:
    """Decodes a step of a session that sends pictures and is answered by a server."""
    batch, answer, index = step.row.batch, step.answer, step.index
    assert answer is not None, "a view shows what a server answered"
    specs = observation_spec(picture=True).tensors
    tensors = {
        spec.name: decode_column(spec, column, 1)[0]
        for spec, column in zip(specs, batch.tensors, strict=True)
    }
    width = len(answer.action) // len(answer.env)
    return Frame(
        env=batch.env[0],
        episode=batch.episode[0],
        step=batch.step[0],
        masks=tensors["bev_masks"],
        picture=tensors["picture"],
        info=step.row.info,
        reward=batch.reward[0],
        action=np.array(answer.action[index * width : (index + 1) * width], np.float32),
        applied=np.array(batch.applied_action, np.float32),
        marked=any(batch.wants_feedback),
        value=answer.value[index] if answer.value else None,
        queue_ms=answer.queue_us / 1000,
        inference_ms=answer.inference_us / 1000,
        policy=_name(answer.policy) if answer.HasField("policy") else "",
    )


def _name(policy: action_pb2.PolicyVersion) -> str:
    return f"{policy.policy_id} v{policy.version}" if policy.version else policy.policy_id
