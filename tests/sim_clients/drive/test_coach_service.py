"""A feedback service as a child process: watched, waited for, ended."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import pytest

from codriver.coaching.source import FeedbackSource
from codriver.errors import InvalidArgumentError
from sim_clients.drive.coach_arguments import add_feedback_access, feedback_source
from sim_clients.drive.coach_driver import open_coach_driver
from sim_clients.drive.coach_service import CoachService, coach_service
from sim_clients.simulator import SimulatorError
from tests.codriver.coaching.feedback_peer import VLM, FeedbackPeer

FAKE = """
import json, sys, time
from tests.codriver.coaching.feedback_peer import FeedbackPeer
print("READY {}", flush=True)
print("nonsense", flush=True)
with FeedbackPeer(sys.argv[1]) as peer:
    if sys.argv[2] == "fails":
        peer.coaches = ()
        peer.ListCoaches = None
        told = [{"coach": "vlm", "ready": False, "detail": "no checkpoint"}]
    else:
        told = [{"coach": "vlm", "ready": True, "detail": ""}, {"coach": "clip", "ready": True, "detail": ""}]
    print("COACHES " + json.dumps({"coaches": told}), flush=True)
    time.sleep(300)
"""
"""A service that says what `codriver feedback` says."""


class Installing(FeedbackPeer):
    """Coaches that are installed, then one that is loaded and one that cannot be."""

    installing, vlm_detail, vlm_ready = True, "vlm-small is being loaded", False

    def ListCoaches(self, request, context):
        response = super().ListCoaches(request, context)
        for info in response.coaches:
            if self.installing:
                info.ready, info.detail = False, f"installing {self.listed} %"
            elif info.kind == VLM:
                info.ready, info.detail = self.vlm_ready, "" if self.vlm_ready else self.vlm_detail
        return response


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_coaches_that_are_up_are_not_waited_for(tmp_path):
    with FeedbackPeer(tmp_path / "f") as peer, coach_service(FeedbackSource(peer.address)) as service:
        service.watch()
        lines = list(service.wait())
        assert lines == ["clip and vlm have joined after 0 s"]
        assert service.all_ready and sorted(service.joined) == ["clip", "vlm"] and service.trouble() == ""


def test_what_is_going_on_is_said_once_and_each_coach_joins(tmp_path):
    said = []
    with Installing(tmp_path / "f") as peer, coach_service(FeedbackSource(peer.address)) as service:
        service.watch()
        wait_for(lambda: peer.listed >= 4)
        said += service.lines()
        assert len(said) == 1 and said[0].startswith("installing ")  # a line that only counts is not repeated
        assert service.trouble().startswith("vlm: installing") and not service.all_ready
        peer.installing = False
        wait_for(lambda: service.joined)
        wait_for(lambda: said.extend(service.lines()) or "vlm: vlm-small is being loaded" in said)
        assert any(line.startswith("clip has joined after") for line in said)
        peer.vlm_ready = True
        wait_for(lambda: service.all_ready)
        wait_for(lambda: said.extend(service.lines()) or any("vlm has joined" in line for line in said))
        peer.vlm_ready, peer.vlm_detail = False, "its Triton is away"
        wait_for(lambda: not service.all_ready)
        assert service.trouble() == "vlm: its Triton is away" and list(service.joined) == ["clip"]


def test_nobody_there_is_one_line(tmp_path):
    service = CoachService(FeedbackSource(f"unix:{tmp_path}/nowhere"), patience_s=0.5)
    service.watch()
    try:
        with pytest.raises(SimulatorError, match="no coach answers: no feedback service answers at unix:"):
            list(service.wait())
    finally:
        service.close()


def child(tmp_path, *arguments, code=FAKE):
    errors = tmp_path / "errors"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    service = CoachService(FeedbackSource(f"unix:{tmp_path}/f"), process, errors)
    service.watch()
    return process, service


def test_a_child_is_heard_and_ended(tmp_path):
    process, service = child(tmp_path, str(tmp_path / "f"), "works")
    assert any("have joined" in line for line in service.wait())
    service.close()
    assert process.poll() is not None


def test_a_child_whose_coaches_fail_is_not_waited_for_for_ever(tmp_path):
    process, service = child(tmp_path, str(tmp_path / "f"), "fails")
    with pytest.raises(SimulatorError, match="vlm: no checkpoint"):
        list(service.wait())
    service.close()
    assert process.poll() is not None


def test_a_child_that_dies_is_named_with_its_last_words(tmp_path):
    dying = "import sys; sys.exit('codriver feedback: no room on the disk')"
    _, service = child(tmp_path, code=dying)
    with pytest.raises(SimulatorError, match="has ended: codriver feedback: no room on the disk"):
        list(service.wait())
    assert any("no room on the disk" in line for line in [*service.lines(), service.trouble()])
    service.close()


def test_a_service_that_nobody_looked_at_is_ended_too(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    CoachService(FeedbackSource(f"unix:{tmp_path}/f"), process).close()
    assert process.poll() is not None
    process.stdin.close()


def test_a_service_that_wants_a_token_gets_it(tmp_path):
    token = tmp_path / "token"
    token.write_text("right\n")
    with FeedbackPeer(tmp_path / "f", token="right") as peer:
        with coach_service(FeedbackSource(peer.address, token=token)) as service:
            service.watch()
            assert list(service.wait())[-1].startswith("clip and vlm have joined")
        with open_coach_driver(FeedbackSource(peer.address, token=token), print) as driver:
            assert driver.figures()["unanswered"] == {}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ([], None),
        (["--feedback-token", "t"], "feedback"),
        (["--feedback", "example.org:5", "--feedback-token", "t"], "feedback_token"),
        (["--feedback", "example.org:5", "--feedback-token", "t", "--feedback-tls-ca", "c"], None),
    ],
)
def test_what_lets_us_in_belongs_to_a_named_service(arguments, field):
    parser = argparse.ArgumentParser()
    parser.add_argument("--feedback")
    add_feedback_access(parser)
    given = parser.parse_args(arguments)
    if field is None:
        source = feedback_source(given)
        assert (source is None) == (not arguments)
        assert source is None or source.options() == [
            "--feedback", "example.org:5", "--feedback-tls-ca", "c", "--feedback-token", "t",
        ]  # fmt: skip
        return
    with pytest.raises(InvalidArgumentError) as caught:
        feedback_source(given)
    assert caught.value.field == field
