"""``codriver serve`` as a process: ready line, signals, and one-line errors with status 2."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from agent_server.policies.card import PolicyCard
from agent_server.policies.directory import load_card, save_policy
from agent_server.policies.network import DrivingNetwork
from agent_server.serve import main
from agent_server.serve_config import settings
from codriver.driving import SPEC_HASH
from codriver.errors import InvalidArgumentError

ARGUMENTS = {"channels": 2, "size": 8, "state_items": 3}


@pytest.fixture
def policy_path(tmp_path, kit):
    card = PolicyCard("tiny", "bev_cnn", kit.SPEC, kit.ACTIONS, arguments=ARGUMENTS, has_value=True)
    save_policy(tmp_path / "tiny", card, DrivingNetwork(**ARGUMENTS))
    return tmp_path / "tiny"


@pytest.fixture
def process(policy_path, tmp_path):
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "agent_server.serve", "--policy", str(policy_path), *arguments]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(child)
        line = child.stdout.readline()
        assert line.startswith("READY "), child.stderr.read()
        return child, json.loads(line[len("READY ") :])

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_serves_until_a_signal_and_drains(process, tmp_path, start, kit):
    ready = tmp_path / "ready.json"
    child, facts = process(
        "--listen", "127.0.0.1:0", "--listen", f"unix:{tmp_path}/s", "--ready-file", str(ready)
    )
    assert facts["policies"] == ["tiny"] and facts["threads"] >= 1 and facts["pid"] == child.pid
    assert json.loads(ready.read_text()) == facts
    drivers = [kit.Driver(start.connect(None, address)) for address in facts["addresses"]]
    for driver in drivers:
        assert len(driver.ask(kit.rows((0, 0, 0))).action) == 2
    child.send_signal(signal.SIGTERM)
    for driver in drivers:
        drain = driver.read().drain
        assert drain.grace_ms == 5000 and "SIGTERM" in drain.reason
        assert len(driver.ask(kit.rows((0, 0, 1))).action) == 2  # still answered during the grace
        status, reason, error = kit.failure(driver.stub.OpenSession, kit.open_request(), timeout=10)
        assert (status, reason) == ("UNAVAILABLE", "DRAINING") and error.retry_after_s
        assert driver.done() == [] and driver.call.code().name == "OK"
    assert child.wait(10) == 0 and not ready.exists()
    assert "Traceback" not in child.stderr.read()


def test_streams_that_stay_are_ended_after_the_grace(process, tmp_path, start, kit):
    child, facts = process("--listen", f"unix:{tmp_path}/s", "--drain-grace-s", "0.2")
    driver = kit.Driver(start.connect(None, facts["addresses"][0]))
    child.send_signal(signal.SIGINT)
    assert driver.read().WhichOneof("message") == "drain"
    assert kit.failure(driver.read)[:2] == ("UNAVAILABLE", "DRAINED")
    assert child.wait(10) == 0


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    err = capsys.readouterr().err
    assert err.startswith("codriver serve: ") and err.count("\n") == 1
    return err


def test_port_taken(capsys, policy_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert f"cannot listen on {address}" in refused(
            capsys, "--policy", str(policy_path), "--listen", address
        )


def test_a_socket_is_taken_from_the_dead_only(capsys, process, policy_path, tmp_path, start, kit):
    child, facts = process("--listen", f"unix:{tmp_path}/s")
    address = facts["addresses"][0]
    assert "another server listens" in refused(capsys, "--policy", str(policy_path), "--listen", address)
    assert len(kit.Driver(start.connect(None, address)).ask(kit.rows((0, 0, 0))).action) == 2
    child.kill()
    child.wait()
    assert os.path.exists(tmp_path / "s")
    kit.wait_until(
        lambda: not os.path.exists(f"/proc/{facts['model_pid']}")
    )  # its model does not stay behind
    assert process("--listen", f"unix:{tmp_path}/s")[1]["addresses"] == facts["addresses"]


def test_policy_missing_or_corrupt(capsys, policy_path, tmp_path):
    assert "does not exist" in refused(capsys, "--policy", str(tmp_path / "none"))
    weights = policy_path / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "corrupt" in refused(capsys, "--policy", str(policy_path))
    (policy_path / "card.json").write_text("{")
    assert "is not JSON" in refused(capsys, "--policy", str(policy_path))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--listen", "0.0.0.0:0"], "--allow-plaintext"),
        (["--listen", "nonsense"], "neither HOST:PORT nor unix:PATH"),
        (["--listen", "unix:/nowhere/at/all/s"], "cannot create the socket"),
        (["--threads", "0"], "threads is 0"),
        (["--batch-cap", "0"], "batch_cap is 0"),
        (["--config", "/nowhere.toml"], "cannot read /nowhere.toml"),
    ],
)
def test_bad_options(capsys, policy_path, arguments, text):
    assert text in refused(capsys, "--policy", str(policy_path), *arguments)


def test_without_a_policy_the_shipped_one_is_served():
    (path,) = settings([]).policies
    card = load_card(path)
    assert card.spec_hash == SPEC_HASH
    assert card.parameters["deployed_actor"] == 1_422_038
    assert card.metrics["evaluation"]["driving_score"] >= 0.8


def test_config_file_and_precedence(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('policy = ["a", "b"]\nbatch_cap = 8\nmax_delay_ms = 2\n[limits]\nmax_sessions = 3\n')
    chosen = settings(["--config", str(file), "--batch-cap", "4"])
    assert chosen.policies == ("a", "b") and chosen.options.batch_cap == 4
    assert chosen.options.max_delay_ms == 2 and chosen.options.limits.max_sessions == 3
    assert chosen.options.model == "process"
    assert settings(["--policy", "a", "--model", "thread"]).options.model == "thread"
    for text, fault in [
        ("batch_kap = 8", "batch_kap"),
        ('batch_cap = "8"', "must be int"),
        ("policy = 3", "must be a list"),
        ("[limits]\nmax_sessions = 0", "max_sessions"),
        ("= 3", "not TOML"),
    ]:
        file.write_text(text)
        with pytest.raises(InvalidArgumentError, match=fault):
            settings(["--config", str(file), "--policy", "a"])
