"""``codriver feedback`` as a process: its lines, signals, and one-line errors with status 2."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import grpc
import pytest

from codriver.errors import InvalidArgumentError
from codriver.v1 import feedback_service_pb2 as pb
from codriver.v1 import feedback_service_pb2_grpc
from feedback_service.command import main
from feedback_service.config import settings


@pytest.fixture
def triton(kit):
    """A scripted Triton on a thread; its address."""
    ready, done = threading.Event(), []

    async def serve():
        models = {"vlm_action": kit.FakeModel(kind="vlm"), "clip_score": kit.FakeModel(kind="clip")}
        stop = asyncio.Event()
        async with kit.FakeTriton("127.0.0.1:0", **models) as fake:
            done.append((asyncio.get_running_loop(), stop, fake.address))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    loop, stop, address = done[0]
    yield address
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


@pytest.fixture
def process(tmp_path):
    started = []

    def start(*arguments, **variables):
        command = [sys.executable, "-m", "feedback_service.command", "--store", str(tmp_path / "store")]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", f"unix:{tmp_path}/admin", *arguments]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **variables
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def line(child, word):
    text = child.stdout.readline()
    assert text.startswith(f"{word} "), text + child.stderr.read()
    return json.loads(text.partition(" ")[2])


def test_serves_until_a_signal(process, triton, tmp_path):
    ready = tmp_path / "ready.json"
    child = process("--triton", triton, "--ready-file", str(ready), "--metrics-listen", "127.0.0.1:0")
    facts = line(child, "READY")
    assert facts["coaches"] == ["vlm", "clip"] and facts["pid"] == child.pid and facts["triton"] == triton
    assert facts["metrics_address"].startswith("127.0.0.1:")
    assert json.loads(ready.read_text()) == facts
    coaches = line(child, "COACHES")
    assert [(c["coach"], c["ready"], c["model_id"]) for c in coaches["coaches"]] == [
        ("clip", True, "clip_score"),
        ("vlm", True, "vlm_action"),
    ]
    with grpc.insecure_channel(facts["addresses"][0]) as channel:
        listed = feedback_service_pb2_grpc.FeedbackServiceStub(channel).ListCoaches(
            pb.ListCoachesRequest(), timeout=10
        )
        assert listed.service_instance_id == facts["instance_id"]
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0 and not ready.exists()
    errors = child.stderr.read()
    assert "Traceback" not in errors and "clip (clip_score, version 1) answers" in errors


def test_serves_without_an_environment_for_models_and_says_why(process, tmp_path):
    """The embedded Triton cannot start: requests are answered all the same, with the reason."""
    (tmp_path / "file").write_text("")
    variables = {"CODRIVER_COACH_ENVIRONMENT": str(tmp_path / "file")}
    child = process(env={**os.environ, **variables})
    facts = line(child, "READY")
    coaches = line(child, "COACHES")["coaches"]
    assert [c["ready"] for c in coaches] == [False, False] and str(tmp_path) in coaches[0]["detail"]
    with grpc.insecure_channel(facts["addresses"][0]) as channel:
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        assert not stub.ListCoaches(pb.ListCoachesRequest(), timeout=10).coaches[0].ready
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 0
    assert "Traceback" not in child.stderr.read()


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    err = capsys.readouterr().err
    assert err.startswith("codriver feedback: ") and err.count("\n") == 1
    return err


def test_port_taken(capsys, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        store = ("--store", str(tmp_path))
        assert f"cannot listen on {address}" in refused(capsys, "--listen", address, *store)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--triton", "nonsense"], "not an address"),
        (["--coach", "vlm"], "is no coach"),
        (["--coach", "x=text"], "is no coach"),
        (["--coach", "x=vlm:"], "is no coach"),
        (["--coach", "=vlm"], "is no coach"),
        (["--coach", "a=vlm", "--coach", "a=clip"], "two coaches 'a'"),
        (["--threads", "0"], "threads is 0"),
        (["--triton-cores", "100000"], "no list of cores"),
        (["--repository", "x"], "repository of its own"),
        (["--triton-ca", "x"], "and no TLS"),
        (["--triton", "a:1", "--triton-ca", "/nowhere"], "holds no certificates"),
        (["--json"], "goes with --check"),
        (["--listen", "0.0.0.0:0"], "--allow-plaintext"),
        (["--tls-cert", "x"], "TLS needs a certificate and its key"),
        (["--tokens", "/nowhere"], "cannot read /nowhere"),
        (["--config", "/nowhere.toml"], "cannot read /nowhere.toml"),
    ],
)
def test_bad_options(capsys, tmp_path, arguments, text):
    assert text in refused(capsys, *arguments, "--store", str(tmp_path))


def test_defaults():
    options = settings([]).options
    assert options.triton == "embedded" and options.listen == ("127.0.0.1:50052",)
    assert [(c.settings.name, c.settings.kind, c.model) for c in options.coaches] == [
        ("vlm", 1, ""),
        ("clip", 2, ""),
    ]
    assert options.coaches[1].settings.max_rows_per_call == 32
    assert settings(["--admin-listen", "off"]).options.admin_listen is None


def test_config_file_and_precedence(tmp_path):
    file = tmp_path / "feedback.toml"
    file.write_text(
        'triton = "10.0.0.7:8001"\ncoach = ["vlm=vlm:internvl", "vlm-2=vlm"]\nlisten = ["127.0.0.1:1"]\n'
        "[vlm]\ntimeout_ms = 5000\n[limits]\nmax_pending_per_session = 7\n"
        '[models]\nmax_new_tokens = 16\nconstrained = true\ndevice = "cuda:0"\n'
    )
    options = settings(["--config", str(file), "--listen", "127.0.0.1:2", "--threads", "2"]).options
    assert options.triton == "10.0.0.7:8001" and options.listen == ("127.0.0.1:2",)
    assert [(c.settings.name, c.model, c.settings.timeout_ms) for c in options.coaches] == [
        ("vlm", "internvl", 5000),
        ("vlm-2", "", 5000),
    ]
    assert options.limits.max_pending_per_session == 7
    models = options.model_options
    assert (models.max_new_tokens, models.constrained, models.threads) == (16, True, 2)
    for text, fault in [
        ("trytons = 1", "trytons"),
        ('coach = "vlm=vlm"', "must be a list"),
        ("[vlm]\nspeed = 1", "speed"),
        ("[vlm]\ntimeout_ms = 0", "timeout_ms"),
        ("[limits]\nmax_attempts = 0", "max_attempts"),
        ("[models]\nmax_new_tokens = 0", "max_new_tokens"),
        ("= 3", "not TOML"),
    ]:
        file.write_text(text)
        with pytest.raises(InvalidArgumentError, match=fault):
            settings(["--config", str(file)])
