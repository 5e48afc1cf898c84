"""Proof that a model answers: a real inference through the contract of coach models, as the desk makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codriver.codecs import png
from codriver.driving import PICTURE_SIZE_PX
from codriver.v1 import feedback_pb2, observation_pb2
from feedback_service.coaches.clip_reward import ClipRewardKind
from feedback_service.coaches.kind import CoachKind
from feedback_service.coaches.vlm_action import VlmActionKind
from feedback_service.registry.inspect import CLIP, VLM
from feedback_service.triton.client import TritonClient
from feedback_service.triton.errors import TritonError, TritonReason

_KINDS: Mapping[int, CoachKind] = {VLM: VlmActionKind(), CLIP: ClipRewardKind()}


@dataclass(frozen=True)
class _Row:
    picture: bytes
    told: Any


async def warm_up(client: TritonClient, model: str, kind: int, timeout_s: float) -> None:
    """Has a model answer two synthetic observations in one call.

    A vision-language model need not answer an action: how often its texts can be read is a figure, not a fault.

    Args:
        client: Of the Triton that has it.
        model: Its name there.
        kind: What it answers.
        timeout_s: Longest wait for the answer.

    Raises:
        TritonError: It does not answer, or its answer is not what the contract says.
    """
    contract = _KINDS[kind]
    rows = [_row(contract, speed_mps) for speed_mps in (0.0, 5.0)]
    result = await client.infer(model, contract.inputs(rows), contract.outputs, timeout_s)
    for outcome in contract.outcomes(rows, result.outputs):
        if (
            isinstance(outcome, feedback_pb2.Unavailable)
            and outcome.reason == feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR
        ):
            raise TritonError(TritonReason.MODEL_ERROR, outcome.detail)


def _row(contract: CoachKind, speed_mps: float) -> _Row:
    context = observation_pb2.FeedbackContext(
        command=observation_pb2.ROUTE_COMMAND_LANE_FOLLOW, forward_speed_mps=speed_mps, target_x_m=20.0
    )
    return _Row(_picture(), contract.told(context))


def _picture() -> bytes:
    """A grey road that leads ahead, drawn as PNG."""
    picture = np.full((PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3), 40, np.uint8)
    picture[:, PICTURE_SIZE_PX * 3 // 8 : PICTURE_SIZE_PX * 5 // 8] = 110
    return png.encode(picture)
