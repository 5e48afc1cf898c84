"""One real agent server for all tests of this folder, with a policy that nobody has trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from agent_server.policies import PolicyCard
from agent_server.policies.directory import save_policy
from agent_server.policies.network import DrivingNetwork
from codriver.driving import action_spec, observation_spec
from tests.integration.helpers import Program, wait_until

pytest.importorskip("libsumo")


@pytest.fixture(scope="session")
def policy_path(tmp_path_factory) -> Path:
    """A policy directory: it steps on the throttle and steers by what it sees, but nobody told it where."""
    path = tmp_path_factory.mktemp("policies") / "untrained"
    torch.manual_seed(0)
    network = DrivingNetwork()
    with torch.no_grad():
        network.actor[-2].weight *= 0.1
        network.actor[-2].bias.copy_(torch.tensor([0.8, 0.0]))
    card = PolicyCard("untrained", "bev_cnn", observation_spec(), action_spec(), has_value=True)
    save_policy(path, card, network)
    return path


@pytest.fixture(scope="session")
def server(policy_path, tmp_path_factory):
    """Addresses of a real ``codriver serve``, by kind: "unix" and "tcp"."""
    folder = tmp_path_factory.mktemp("server")
    ready = folder / "ready.json"
    program = Program(
        "serve", "--policy", policy_path, "--listen", f"unix:{folder}/s", "--listen", "127.0.0.1:0",
        "--ready-file", ready, "--threads", "1", "--drain-grace-s", "0",
    )  # fmt: skip
    assert wait_until(lambda: ready.exists() or program.process.poll() is not None, 100.0)
    assert ready.exists(), program.process.stderr.read()
    unix, tcp = json.loads(ready.read_text())["addresses"]
    yield {"unix": unix, "tcp": tcp}
    program.process.terminate()
    assert program.finish(30.0).status == 0


def pytest_collection_modifyitems(items):
    """Whole programs start here, several after each other: slow machines get more time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))
