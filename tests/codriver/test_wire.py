"""Golden bytes: what is on the wire today is on the wire tomorrow.

The files under ``golden/`` are hex text. A change of them is a change of the contract and belongs in CHANGELOG.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codriver import driving
from codriver.batch import BatchEncoder, decode_actions, decode_observations
from codriver.v1 import action_pb2, agent_service_pb2, observation_pb2

pytestmark = pytest.mark.compat
GOLDEN = Path(__file__).parent / "golden"


def small_spec():
    """The specs of the protocol book's example: masks of two channels, 4 x 4, and a state of three items."""
    from tests.codriver.test_spec import small

    return small()


def drive_request():
    masks = np.zeros((2, 2, 4, 4), np.uint8)
    masks[0, 0, 1:3, 1:3] = 255
    masks[0, 1, 2] = (0, 120, 255, 120)
    masks[1, 0] = 255
    state = np.array([[0, 0.5, -1], [1, 2, 3]], np.float32)
    batch = BatchEncoder(small_spec(), driving.action_spec()).encode(
        {"masks": masks, "state": state},
        env=[0, 3],
        episode=[7, 300],
        step=[0, 12],
        step_kind=[observation_pb2.STEP_KIND_FIRST, observation_pb2.STEP_KIND_MID],
        reward=[0.0, 0.25],
        applied_action=np.array([[0, 0], [0.5, -0.125]], np.float32),
        wants_feedback=[False, True],
        feedback_context=[
            observation_pb2.FeedbackContext(
                command=observation_pb2.ROUTE_COMMAND_LANE_FOLLOW,
                forward_speed_mps=6,
                target_x_m=5,
                target_y_m=-1,
            )
        ],
        observed_at_us=[1_000_000, 2_000_000],
    )
    return agent_service_pb2.DriveRequest(observations=batch), masks, state


def drive_response():
    actions = action_pb2.ActionBatch(
        env=[0, 3],
        episode=[7, 300],
        step=[0, 12],
        action=[0.5, -0.25, 0, 0],
        status=[action_pb2.ACTION_STATUS_OK, action_pb2.ACTION_STATUS_ERROR],
        value=[1.5, 0],
        policy=action_pb2.PolicyVersion(policy_id="bc", version=2),
        queue_us=100,
        inference_us=900,
        forward_rows=8,
    )
    reason = action_pb2.FRAME_ERROR_REASON_NOT_FINITE
    actions.errors.add(
        row=1, reason=reason, field="tensors[state]", detail="tensors[state] holds NaN or infinity"
    )
    return agent_service_pb2.DriveResponse(actions=actions)


MESSAGES = {"drive_request": lambda: drive_request()[0], "drive_response": drive_response}


@pytest.mark.parametrize("name", MESSAGES)
def test_bytes_are_golden(name):
    message = MESSAGES[name]()
    golden = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    assert message.SerializeToString(deterministic=True).hex() == golden.hex()
    assert type(message).FromString(golden) == message


def test_golden_bytes_decode_to_the_arrays_that_went_in():
    golden = bytes.fromhex((GOLDEN / "drive_request.hex").read_text())
    batch = agent_service_pb2.DriveRequest.FromString(golden).observations
    _, masks, state = drive_request()
    columns = decode_observations(small_spec(), batch)
    np.testing.assert_array_equal(columns["masks"].values, masks)
    np.testing.assert_array_equal(columns["state"].values, state)
    golden = bytes.fromhex((GOLDEN / "drive_response.hex").read_text())
    answers = decode_actions(agent_service_pb2.DriveResponse.FromString(golden).actions, 2)
    assert answers.action.tolist() == [[0.5, -0.25], [0, 0]] and answers.value.tolist() == [1.5, 0]
    assert answers.errors[0].field == "tensors[state]"
