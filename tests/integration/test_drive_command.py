"""``codriver drive`` as a process: what it reports, and what it says when things go wrong."""

from __future__ import annotations

import numpy as np
import pytest

from codriver.dataset import Dataset
from codriver.driving import MASK_LEVELS
from sim_clients.drive.command import main as drive_command
from sim_clients.drive.server import local_server
from tests.codriver.coaching.feedback_peer import FeedbackPeer, silent
from tests.integration.helpers import SMALL_TOWN, Program, codriver, wait_until

CRASHING = """
import asyncio, os, signal, sys
import torch
from codriver.coaching.source import FeedbackSource
from agent_server.policies.card import PolicyCard
from agent_server.policies.torch_policy import TorchPolicy
from agent_server.server import AgentServer, Options
from codriver.driving import action_spec, observation_spec

class Crashing(torch.nn.Module):
    passes = 0
    def forward(self, bev_masks, state):
        self.passes += 1
        if self.passes == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(len(state), 2), torch.zeros(len(state))

async def main():
    card = PolicyCard("crashing", "none", observation_spec(), action_spec(), has_value=True)
    feedback = FeedbackSource(sys.argv[2]) if sys.argv[2:] else None
    server = AgentServer([TorchPolicy(card, Crashing())], Options(threads=1, listen=(sys.argv[1],), feedback=feedback))
    await server.start()
    await server.wait()

asyncio.run(main())
"""
"""A server that is killed in the middle of its 30th batch."""


def test_it_drives_reports_and_records(server, tmp_path):
    ended = codriver(
        "drive", "sumo", "--server", server["tcp"], "--envs", "1", "--episodes", "2", *SMALL_TOWN,
        "--record", tmp_path / "drive", "--picture", "--json",
    )  # fmt: skip
    assert (ended.status, ended.left) == (0, []), ended.err
    figures = ended.figures
    assert figures["town"] == "acorn" and figures["routes"] == 2 and figures["failures"] == []
    assert sum(figures["end_reasons"].values()) == 2 and figures["speed_mps"] > 0
    assert 0 <= figures["route_completion"] <= 1

    dataset = Dataset(tmp_path / "drive")
    assert [origin["verb"] for origin in dataset.manifest.provenance] == ["drive"]
    assert len(dataset.manifest.episode_ids()) == 2
    for shard in dataset.shards():
        masks = shard.tensor("bev_masks")
        for channel, levels in enumerate(MASK_LEVELS):
            assert set(np.unique(masks[:, channel])) <= set(levels)
        assert shard.picture(0).startswith(b"\x89PNG")
        assert np.abs(shard.columns["applied_action"]).max() > 0

    again = codriver(
        "drive", "sumo", "--server", server["tcp"], "--envs", "1", "--episodes", "3", *SMALL_TOWN,
        "--record", tmp_path / "drive",
    )  # fmt: skip
    assert "holds 2 of these episodes already" in again.refusal("drive")


def test_steps_end_it(server):
    ended = codriver(
        "drive", "sumo", "--server", server["unix"], "--envs", "2", "--steps", "30", *SMALL_TOWN, "--train"
    )
    assert (ended.status, ended.left) == (0, []), ended.err
    assert "failures" in ended.out


def test_a_server_that_is_killed_is_one_line_after_the_figures(tmp_path):
    address = f"unix:{tmp_path}/s"
    with FeedbackPeer(tmp_path / "f", silent) as peer:
        server = Program(address, peer.address, code=CRASHING)
        assert wait_until(lambda: (tmp_path / "s").exists() and peer.listed, 100.0), server.process.poll()
        ended = codriver(
            "drive", "sumo", "--server", address, "--envs", "2", "--episodes", "2", *SMALL_TOWN,
            "--coach", "vlm", "--feedback-every", "2", "--json",
        )  # fmt: skip
    assert server.finish().status == -9
    assert (ended.status, ended.left) == (2, []), ended.err
    assert ended.err.startswith("codriver drive: ") and ended.err.count("\n") == 1, ended.err
    assert "lost the server" in ended.err and address in ended.err
    account = ended.figures["coaching"]["coaches"]["vlm"]  # what was asked has ended, and says how
    assert account["asked"] > 5 and account["pending"] == 0
    assert account["unavailable"] == {"RESTARTED": account["asked"]}


def test_the_vision_language_model_drives_by_itself(tmp_path):
    with FeedbackPeer(tmp_path / "f") as peer:
        ended = codriver(
            "drive", "sumo", "--policy", "vlm", "--feedback", peer.address, "--envs", "2", "--steps", "40",
            *SMALL_TOWN, "--json",
        )  # fmt: skip
    assert (ended.status, ended.left) == (0, []), ended.err
    assert ended.figures["unanswered_share"] == 0.0 and len(peer.asked) >= 38
    assert "coach: clip and vlm have joined" in ended.err


def test_coaches_are_asked_beside_the_drive(policy_path, tmp_path):
    with (
        FeedbackPeer(tmp_path / "f") as peer,
        local_server(str(policy_path), arguments=["--feedback", peer.address]) as address,
    ):
        ended = codriver(
            "drive", "sumo", "--server", address, "--envs", "2", "--episodes", "2", "--steps", "100", *SMALL_TOWN,
            "--coach", "vlm", "--coach", "guide=clip", "--feedback-every", "10", "--feedback-credits", "3", "--json",
        )  # fmt: skip
    assert (ended.status, ended.left) == (0, []), ended.err
    coaching = ended.figures["coaching"]
    assert list(coaching["coaches"]) == ["vlm"] and coaching["refused"] == ["guide"]
    assert "coach: 'guide' is not available at the server" in ended.err
    account = coaching["coaches"]["vlm"]
    assert 8 <= account["asked"] <= 11 and account["values"] + account["pending"] == account["asked"]
    assert account["availability"] == 1.0 and account["age_steps_p50"] <= 5
    assert coaching["rule"]["every_k_steps"] == 10 and coaching["credits_per_env"] == 3
    assert {request.key.step % 10 for request in peer.asked} == {0}


def test_a_server_without_coaches_grants_none_and_drives(server):
    ended = codriver(
        "drive", "sumo", "--server", server["unix"], "--envs", "1", "--steps", "20", *SMALL_TOWN, "--coach", "vlm"
    )  # fmt: skip
    assert (ended.status, ended.left) == (0, []), ended.err
    assert "coach: 'vlm' is not available at the server" in ended.err
    assert "vlm: not available at the server, not asked" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say who drives"),
        (["--server", "unix:x", "--policy", "vlm"], "say who drives"),
        (["--server", "unix:x", "--feedback", "unix:y"], "--feedback names the service"),
        (["--server", "unix:x", "--feedback-token", "t"], "--feedback names the service"),
        (["--policy", "vlm", "--coach", "clip"], "without a server"),
        (["--server", "unix:x", "--feedback-every", "3"], "needs --coach"),
        (["--server", "unix:x", "--coach", "clip", "--feedback-every", "0"], "no row would be marked"),
        (["--server", "unix:x", "--coach", "guide"], "of which kind"),
        (["--server", "unix:x", "--coach", "vlm", "--coach", "vlm=clip"], "two kinds"),
    ],
)
def test_arguments_that_contradict_each_other(arguments, message, capsys):
    with pytest.raises(SystemExit):
        drive_command(["sumo", *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("address", ["unix:{}/nobody", "127.0.0.1:1"])
def test_no_server(address, tmp_path):
    address = address.format(tmp_path)
    line = codriver("drive", "sumo", "--server", address, *SMALL_TOWN).refusal("drive")
    assert address in line and "Is it running" in line


def test_a_policy_that_the_server_does_not_have(server):
    line = codriver(
        "drive", "sumo", "--server", server["unix"], *SMALL_TOWN, "--policy-id", "champion"
    ).refusal("drive")
    assert "champion" in line and "untrained" in line


@pytest.mark.parametrize(
    "verb", ["drive sumo --server unix:/nowhere", "evaluate", "collect --out {}/data", "demo"]
)
def test_unknown_town(verb, tmp_path):
    words = verb.format(tmp_path).split()
    line = codriver(*words, "--town", "atlantis").refusal(words[0])
    assert "atlantis" in line and "birch" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "verb", ["drive gta --server unix:/nowhere", "evaluate --sim gta", "collect --sim gta --out {}/data"]
)
def test_unknown_simulator(verb, tmp_path):
    words = verb.format(tmp_path).split()
    line = codriver(*words).refusal(words[0])
    assert "gta" in line and "sumo" in line


@pytest.mark.parametrize(
    ("module", "verb", "extra"),
    [
        ("libsumo", "drive sumo --server unix:/nowhere", "sumo"),
        ("libsumo", "evaluate --policy expert", "sumo"),
        ("cv2", "collect --out {folder}/data", "sumo"),
        ("torch", "serve --policy {policy}", "serve"),
        ("rerun", "demo --rrd {folder}/drive.rrd", "view"),
    ],
)
def test_missing_extra(module, verb, extra, policy_path, tmp_path, monkeypatch):
    """Runs a verb, and whatever it starts, as if a library were not installed."""
    absent = f"raise ModuleNotFoundError('No module named {module}', name='{module}')"
    tmp_path.joinpath(f"{module}.py").write_text(absent)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = verb.format(folder=tmp_path, policy=policy_path).split()
    line = codriver(*words).refusal(words[0])
    assert module in line.lower() or extra.upper() in line
    assert f"pip install 'codriver[{extra}]'" in line
