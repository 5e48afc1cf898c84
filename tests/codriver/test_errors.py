"""Errors survive the wire with reason, field, hint, violations and retry delay."""

from __future__ import annotations

import inspect

import grpc
import pytest

from codriver import errors
from codriver.client import AgentClient
from codriver.rpc_status import METADATA_KEY, from_rpc_error, status_details
from tests.codriver.loopback import Loopback

pytestmark = pytest.mark.compat
CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.CodriverError) and kind not in (errors.CodriverError, errors.FrameFailedError)
]


def refused(tmp_path, error):
    """What a client raises when a real server refuses a session with an error."""
    with Loopback(tmp_path / "s", refuse=error) as server, AgentClient(server.address) as client:
        try:
            client.open_session()
        except errors.CodriverError as got:
            return got
    raise AssertionError("not refused")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_survives_a_real_call(kind, tmp_path):
    sent = kind("it went wrong", field="observation_spec", hint="Do this.", retry_after_s=1.25)
    got = refused(tmp_path, sent)
    assert type(got) is kind
    assert (got.reason, got.field, got.hint) == (sent.reason, "observation_spec", "Do this.")
    assert got.retry_after_s == pytest.approx(1.25)
    assert "it went wrong" in str(got) and "\n" not in str(got)


def test_violations_survive(tmp_path):
    found = [errors.Violation(f"observation_spec.tensors[{i}].name", "is wrong") for i in range(3)]
    sent = errors.SpecError("three names are wrong", violations=found)
    got = refused(tmp_path, sent)
    assert list(got.violations) == found
    assert got.field == "observation_spec.tensors[0].name"


def test_a_flood_of_violations_still_arrives(tmp_path):
    found = [errors.Violation(f"observation_spec.tensors[{i}].name", "x" * 400) for i in range(300)]
    got = refused(tmp_path, errors.SpecError("m" * 5000, violations=found))
    assert type(got) is errors.SpecError and 5 < len(got.violations) < 300


def test_text_beyond_ascii_still_arrives(tmp_path):
    """gRPC sends each of its bytes as three characters, and drops answers with more than 8 KiB of them."""
    found = [errors.Violation("\U0001f697" * 100, "\U0001f697" * 400) for _ in range(9)]
    text = "\U0001f697" * 800
    got = refused(tmp_path, errors.SpecError(text, hint=text, field="f", violations=found))
    assert type(got) is errors.SpecError and got.message and got.hint and got.violations


def test_text_names_field_and_hint_once():
    error = errors.TensorError("tensors[state] is float64", field="tensors[state]", hint="Convert it.")
    assert str(error) == "tensors[state] is float64. Convert it."
    assert str(errors.CodriverError("wrong\n  line", field="step")) == "step: wrong line"


class _Failed(grpc.RpcError):
    def __init__(self, code, metadata):
        super().__init__("raw")
        self._code, self._metadata = code, metadata

    def code(self):
        return self._code

    def details(self):
        return "plain"

    def trailing_metadata(self):
        return self._metadata


@pytest.mark.parametrize("junk", [b"", b"\xff\xff\xff", b"\x1a\x03abc", bytes(range(256))])
def test_unreadable_details_leave_a_plain_error(junk):
    error = from_rpc_error(_Failed(grpc.StatusCode.NOT_FOUND, [(METADATA_KEY, junk), ("other", "x")]))
    assert type(error) is errors.NotFoundError and error.message == "plain"


def test_details_of_another_domain_are_not_ours():
    metadata = status_details(errors.SessionLostError("gone"))
    foreign = [(METADATA_KEY, metadata[0][1].replace(b"codriver.v1", b"somebody.v1"))]
    assert type(from_rpc_error(_Failed(grpc.StatusCode.NOT_FOUND, foreign))) is errors.NotFoundError
    assert type(from_rpc_error(_Failed(grpc.StatusCode.NOT_FOUND, metadata))) is errors.SessionLostError


def test_googleapis_reads_our_details():
    """Wire-compatible with the published google.rpc messages, where those are installed."""
    status_pb2 = pytest.importorskip("google.rpc.status_pb2")
    details = pytest.importorskip("google.rpc.error_details_pb2")
    sent = errors.SpecError("m", hint="h", violations=[errors.Violation("a.b", "c")], retry_after_s=2.5)
    status = status_pb2.Status.FromString(status_details(sent)[0][1])
    assert status.code == 3
    found = {}
    for item in status.details:
        for kind in (details.ErrorInfo, details.BadRequest, details.RetryInfo):
            if item.Is(kind.DESCRIPTOR):
                found[kind] = kind.FromString(item.value)
    assert found[details.ErrorInfo].metadata["hint"] == "h"
    assert found[details.BadRequest].field_violations[0].description == "c"
    assert found[details.RetryInfo].retry_delay.ToMilliseconds() == 2500
