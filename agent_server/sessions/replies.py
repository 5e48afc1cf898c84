"""Answers that are not the model's alone: errors, episode ends, stored answers and fallbacks, row by row."""

from __future__ import annotations

from agent_server.sessions.outcomes import Outcome, Refusal, StoredRow
from codriver.v1 import action_pb2, agent_service_pb2, observation_pb2

OK = action_pb2.ACTION_STATUS_OK
END = action_pb2.ACTION_STATUS_EPISODE_END
HOLD = action_pb2.ACTION_STATUS_FALLBACK_HOLD
BRAKE = action_pb2.ACTION_STATUS_FALLBACK_BRAKE
ERROR = action_pb2.ACTION_STATUS_ERROR


def parse(message: bytes) -> action_pb2.ActionBatch:
    """The actions in a serialised ``DriveResponse``."""
    return agent_service_pb2.DriveResponse.FromString(message).actions


def compose(
    request: observation_pb2.ObservationBatch,
    outcomes: list[Outcome],
    dims: int,
    model: action_pb2.ActionBatch | None,
) -> agent_service_pb2.DriveResponse:
    """One answer from the outcomes of its rows.

    Args:
        request: The message that is answered.
        outcomes: One for each of its rows.
        dims: Action dimensions.
        model: The model's answer to those rows that went there: policy and timing are taken from it, or else from the
            first stored row.
    """
    response = agent_service_pb2.DriveResponse()
    answer = response.actions
    answer.env.extend(request.env)
    answer.episode.extend(request.episode)
    answer.step.extend(request.step)
    stored = [outcome.batch for outcome in outcomes if isinstance(outcome, StoredRow)]
    with_value = any(batch.value for batch in stored)
    for row, outcome in enumerate(outcomes):
        status, action, value = END, [0.0] * dims, 0.0
        if isinstance(outcome, StoredRow):
            status, action = outcome.status, outcome.action(dims)
            value = outcome.batch.value[outcome.row] if outcome.batch.value else 0.0
            for error in outcome.batch.errors:
                if error.row == outcome.row:
                    answer.errors.add(row=row, reason=error.reason, field=error.field, detail=error.detail)
        elif isinstance(outcome, Refusal):
            status = ERROR
            answer.errors.add(row=row, reason=outcome.reason, field=outcome.field, detail=outcome.detail)
        elif outcome is not None:
            status, action = outcome
        answer.status.append(status)
        answer.action.extend(action)
        if with_value:
            answer.value.append(value)
    source = (
        model if model is not None else next((batch for batch in stored if batch.HasField("policy")), None)
    )
    if source is not None and source.HasField("policy"):
        answer.policy.CopyFrom(source.policy)
    if model is not None:
        answer.queue_us, answer.inference_us = model.queue_us, model.inference_us
        answer.forward_rows = model.forward_rows
    return response


def brake_action(spec: action_pb2.ActionSpec) -> list[float] | None:
    """The action that brakes fully and steers straight; None when the space has no dimension to brake with.

    ``acceleration`` goes to its lowest value, ``brake`` to its highest, ``throttle`` to its lowest, all others to 0
    or what is nearest to it.
    """
    if not {"acceleration", "brake"} & set(spec.names):
        return None
    action = []
    for name, low, high in zip(spec.names, spec.low, spec.high):
        action.append(
            {"acceleration": low, "throttle": low, "brake": high}.get(name, min(max(0.0, low), high))
        )
    return action
