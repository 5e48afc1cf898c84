"""A real agent server between a client and a scripted feedback service."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from codriver import driving
from codriver.coaching.source import FeedbackSource
from codriver.v1 import action_pb2, feedback_pb2, observation_pb2, tensor_pb2
from tests.agent_server import conftest as base
from tests.codriver.coaching.feedback_peer import CLIP, VLM, FeedbackPeer, answer_to, good, silent

PICTURE = driving.observation_spec(picture=True).tensors[-1]
SPEC = observation_pb2.ObservationSpec(tensors=[base.MASKS, base.STATE, PICTURE])
RULE = feedback_pb2.FeedbackRule(every_k_steps=1)
VLM_COACH = feedback_pb2.CoachSelection(coach="vlm", kind=VLM)
CLIP_COACH = feedback_pb2.CoachSelection(coach="clip", kind=CLIP)
OK = action_pb2.ACTION_STATUS_OK


def picture_of(env, episode, step):
    """What stands for the PNG of an observation; neither server looks into it."""
    return f"picture {env}/{episode}/{step}".encode()


def context_of(env, episode, step):
    return observation_pb2.FeedbackContext(
        command=observation_pb2.ROUTE_COMMAND_LEFT, forward_speed_mps=env + step / 8, target_x_m=episode
    )


def marked(*keys, unmarked=(), pictures=None, contexts=True, **columns):
    """A batch whose rows want feedback; ``unmarked`` names those (by place) that do not."""
    batch = base.rows(*keys, **columns)
    wants = [place not in unmarked for place in range(len(keys))]
    batch.wants_feedback.extend(wants)
    column = tensor_pb2.TensorColumn()
    data = b""
    for place, key in enumerate(keys):
        if not wants[place]:
            continue
        if contexts:
            batch.feedback_context.append(context_of(*key[:3]))
        if pictures is None or place in pictures:
            column.rows.append(place)
            column.row_sizes_bytes.append(len(picture_of(*key[:3])))
            data += picture_of(*key[:3])
    column.data = data
    batch.tensors.append(column)
    return batch


def open_request(**changes):
    fields = {
        "observation_spec": SPEC,
        "coaches": [VLM_COACH],
        "feedback_rule": RULE,
        "feedback_credits_per_env": 4,
    }
    return base.open_request(**{**fields, **changes})


class CoachedDriver(base.Driver):
    """A client that keeps actions and feedback apart, in the order in which they came.

    ``log`` has "actions" or the (coach, env, episode, step) of each feedback.
    """

    def __init__(self, stub, session=None, **changes):
        self.actions, self.feedback, self.log, self.drain = [], [], [], None
        super().__init__(stub, session or stub.OpenSession(open_request(**changes), timeout=20))

    def take(self, response):
        kind = response.WhichOneof("message")
        if kind == "actions":
            self.actions.append(response.actions)
            self.log.append("actions")
        elif kind == "feedback":
            self.feedback.extend(response.feedback.feedback)
            self.log.extend(
                (f.coach, f.key.env, f.key.episode, f.key.step) for f in response.feedback.feedback
            )
        elif kind == "drain":
            self.drain = response.drain
        return kind

    def ask(self, batch):
        """Sends, and reads up to the actions."""
        self.send(batch)
        while self.take(self.read()) != "actions":
            pass
        return self.actions[-1]

    def hear(self, count):
        """Reads until so many pieces of feedback have come in all."""
        while len(self.feedback) < count:
            self.take(self.read())
        return self.endings()

    def endings(self):
        """What each (coach, env, episode, step) ended with: the reason, or "" for a value. Each exactly once."""
        found = {}
        for feedback in self.feedback:
            name = (feedback.coach, feedback.key.env, feedback.key.episode, feedback.key.step)
            assert name not in found, f"{name} came twice"
            assert feedback.key.session_id == self.session.session_id
            found[name] = reason(feedback)
        return found

    def close(self):
        """Closes the session and reads to the end of the stream."""
        names = {"session_id": self.session.session_id, "resume_token": self.session.resume_token}
        self.stub.CloseSession(base.pb.CloseSessionRequest(**names), timeout=20)
        for response in self.call:
            self.take(response)


def reason(feedback):
    outcome = feedback.WhichOneof("outcome")
    assert outcome is not None
    if outcome != "unavailable":
        return ""
    return feedback_pb2.UnavailableReason.Name(feedback.unavailable.reason)[len("UNAVAILABLE_REASON_") :]


@pytest.fixture
def coached():
    """The helpers of this file and of the peer, for tests."""
    return types.SimpleNamespace(**{k: v for k, v in globals().items() if not k.startswith("__")})


@pytest.fixture
def peer(tmp_path):
    with FeedbackPeer(tmp_path / "f") as peer:
        yield peer


@pytest.fixture
def begin(start, peer):
    """Starts an agent server linked to the peer; waits until it is connected, where the peer is there."""

    def begin(address=None, wait=True, token=None, **settings):
        source = FeedbackSource(address or peer.address, token=None if token is None else Path(token))
        server = start(feedback=source, **settings)
        if wait:
            base.wait_until(lambda: server.server.coaching.link.connected, 30)
        return server

    return begin


__all__ = ["answer_to", "good", "silent"]
