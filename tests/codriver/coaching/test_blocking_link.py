"""The same link for programs without an event loop."""

from __future__ import annotations

import threading
import time

import pytest

from codriver.coaching.blocking_link import BlockingLink
from codriver.errors import UnavailableError
from tests.codriver.coaching.feedback_peer import CLIP, FeedbackPeer, silent
from tests.codriver.coaching.test_link import reason, request

pytestmark = pytest.mark.compat


@pytest.fixture
def peer(tmp_path):
    with FeedbackPeer(tmp_path / "f") as peer:
        yield peer


def test_asks_and_waits(peer):
    with BlockingLink(peer.address) as link:
        assert link.wait_connected(30) and link.connected and not link.trouble
        assert [coach.coach for coach in link.list_coaches().coaches] == ["vlm", "clip"]
        answers = link.ask_and_wait([request(3), request(1, coach="clip", kind=CLIP), request(2)], 30)
        assert [(a.coach, a.key.step, reason(a)) for a in answers] == [
            ("vlm", 3, ""),
            ("clip", 1, ""),
            ("vlm", 2, ""),
        ]
        assert link.ask_and_wait([]) == []


def test_the_wait_is_bounded(peer):
    peer.script = silent
    with BlockingLink(peer.address) as link:
        assert link.wait_connected(30)
        begin = time.monotonic()
        assert reason(link.ask_and_wait([request(0)], 0.2)[0]) == "TIMED_OUT"
        assert time.monotonic() - begin < 10
        peer.wait(lambda: any(message.HasField("cancel") for message in peer.received))


def test_close_frees_who_waits(peer):
    peer.script = silent
    link = BlockingLink(peer.address)
    answers = []
    waiting = threading.Thread(target=lambda: answers.extend(link.ask_and_wait([request(0)])))
    waiting.start()
    peer.wait(lambda: peer.asked)
    link.close()
    waiting.join(30)
    assert [reason(answer) for answer in answers] == ["RESTARTED"]
    link.close()
    with pytest.raises(UnavailableError, match="closed"):
        link.ask_and_wait([request(1)])


def test_nobody_there(tmp_path):
    with BlockingLink(f"unix:{tmp_path}/nobody") as link:
        assert reason(link.ask_and_wait([request(0)], 30)[0]) == "MODEL_NOT_LOADED"
        assert not link.wait_connected(0.05)
        with pytest.raises(UnavailableError):
            link.list_coaches()
