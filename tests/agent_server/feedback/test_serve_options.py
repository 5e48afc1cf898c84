"""Where the feedback service is: command line, file, and what is refused."""

from pathlib import Path

import pytest

from agent_server.feedback.coaching import Coaching
from agent_server.serve_config import settings
from codriver.coaching.source import FeedbackSource
from codriver.errors import InvalidArgumentError


def chosen(*arguments):
    return settings(["--policy", "p", *arguments]).options.feedback


def test_none_by_default():
    assert chosen() is None


def test_command_line_over_file(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('feedback = "unix:/a"\nfeedback_token = "t"\n')
    assert chosen("--config", str(file)) == FeedbackSource("unix:/a", token=Path("t"))
    assert chosen("--config", str(file), "--feedback", "127.0.0.1:7", "--feedback-tls-ca", "ca.pem") == (
        FeedbackSource("127.0.0.1:7", Path("ca.pem"), Path("t"))
    )


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--feedback", "nowhere"], ""),
        (["--feedback-token", "t"], "feedback"),
        (["--feedback", "example.org:5", "--feedback-token", "t"], "feedback_token"),
        (["--feedback-tls-key", "k"], "feedback"),
        (["--feedback", "unix:/a", "--feedback-tls-ca", "c", "--feedback-tls-cert", "o"], "feedback_tls_key"),
        (["--feedback", "unix:/a", "--feedback-tls-ca", "c", "--feedback-tls-key", "k"], "feedback_tls_cert"),
        (["--feedback", "unix:/a", "--feedback-tls-cert", "o", "--feedback-tls-key", "k"], "feedback_tls_ca"),
    ],
)
def test_refused(arguments, field):
    with pytest.raises(InvalidArgumentError) as caught:
        chosen(*arguments)
    assert caught.value.field == field


def test_a_token_beyond_this_machine_needs_tls():
    assert chosen("--feedback", "localhost:5", "--feedback-token", "t").token == Path("t")
    assert chosen("--feedback", "example.org:5", "--feedback-token", "t", "--feedback-tls-ca", "c").tls_ca


@pytest.mark.parametrize("content", [None, "", "\n", "two words", "\xff"])
def test_files_without_a_token_are_refused_at_the_start(tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    with pytest.raises(InvalidArgumentError) as caught:
        Coaching(FeedbackSource("unix:/a", token=file))
    assert caught.value.field == "feedback_token"


def test_the_token_is_sent_and_read_again(begin, start, coached, tmp_path, kit):
    file = tmp_path / "token"
    file.write_text("wrong\n")
    with coached.FeedbackPeer(tmp_path / "guarded", token="right") as guarded:
        server = begin(guarded.address, wait=False, token=file)
        driver = coached.CoachedDriver(start.connect(server))
        driver.ask(coached.marked((0, 0, 0)))
        assert driver.hear(1) == {("vlm", 0, 0, 0): "MODEL_NOT_LOADED"}
        assert "who are you?" in driver.feedback[0].unavailable.detail
        file.write_text("right\n")
        kit.wait_until(lambda: server.server.coaching.link.connected, 60)
        driver.ask(coached.marked((0, 0, 1)))
        assert driver.hear(2)["vlm", 0, 0, 1] == ""
