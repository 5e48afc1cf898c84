"""Policy directories: what is written is what is loaded, and every damage is one clear line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from agent_server.policies import PolicyLoadError, load_policy
from agent_server.policies.card import PolicyCard
from agent_server.policies.directory import load_card, load_module, save_policy
from agent_server.policies.network import DrivingNetwork
from agent_server.policies.torch_policy import TorchPolicy
from codriver.errors import CodriverError


@pytest.fixture
def saved(tmp_path: Path, card: PolicyCard, network: DrivingNetwork) -> Path:
    path = tmp_path / "policy"
    save_policy(path, card, network)
    return path


def test_round_trip(
    saved: Path, card: PolicyCard, network: DrivingNetwork, batch: dict[str, NDArray[Any]]
) -> None:
    loaded = load_policy(saved)
    assert replace(loaded.card, weights_sha256="") == card
    assert loaded.card.spec_hash == card.spec_hash
    here = TorchPolicy(card, network).forward(batch)
    there = loaded.forward(batch)
    np.testing.assert_array_equal(here.action, there.action)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["policy"]
    assert sorted(p.name for p in saved.iterdir()) == ["card.json", "weights.safetensors"]


def test_saving_again_replaces(saved: Path, card: PolicyCard) -> None:
    torch.manual_seed(9)
    other = DrivingNetwork()
    save_policy(saved, replace(card, id="second"), other)
    loaded, module = load_module(saved)
    assert loaded.id == "second"
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))
    assert sorted(p.name for p in saved.parent.iterdir()) == ["policy"]


def test_saving_over_something_else_is_refused(
    tmp_path: Path, card: PolicyCard, network: DrivingNetwork
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PolicyLoadError, match="not a policy directory"):
        save_policy(tmp_path, card, network)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def _edit(key: str, value: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        form = json.loads((path / "card.json").read_text())
        form[key] = value
        (path / "card.json").write_text(json.dumps(form))

    return damage


def _reweigh(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        state = safetensors.torch.load_file(path / "weights.safetensors")
        change(state)
        data = safetensors.torch.save(state)
        (path / "weights.safetensors").write_bytes(data)
        _edit("weights_sha256", hashlib.sha256(data).hexdigest())(path)

    return damage


def _not_safetensors(path: Path) -> None:
    (path / "weights.safetensors").write_bytes(b"\x80\x04pickle")
    _edit("weights_sha256", hashlib.sha256(b"\x80\x04pickle").hexdigest())(path)


def _flip(path: Path) -> None:
    data = bytearray((path / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "weights.safetensors").write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda p: (p / "card.json").unlink(), "card.json is missing"),
    "no weights": (lambda p: (p / "weights.safetensors").unlink(), "weights.safetensors is missing"),
    "card not JSON": (lambda p: (p / "card.json").write_text("{"), "is not JSON"),
    "card not text": (lambda p: (p / "card.json").write_bytes(b"\xff\xfe"), "is not UTF-8"),
    "card too large": (lambda p: (p / "card.json").write_text(" " * (1 << 21)), "at most"),
    "foreign format": (_edit("format", "other/9"), "format: is 'other/9'"),
    "bad id": (_edit("id", "Über policy"), "id: "),
    "missing entry": (_edit("arguments", None), "arguments: is missing"),
    "wrong spec hash": (_edit("spec_hash", "0" * 64), "spec_hash: does not belong"),
    "wrong spec": (_edit("action_spec", {"names": ["steer"], "low": [1], "high": [-1]}), "is not below"),
    "unreadable spec": (_edit("observation_spec", {"tensors": 3}), "observation_spec: cannot be read"),
    "negative std": (_edit("exploration_std", [-1, 0]), "exploration_std"),
    "unknown architecture": (_edit("architecture", "resnet"), "unknown architecture 'resnet'"),
    "wrong arguments": (_edit("arguments", {"chanels": 3}), "refuses its arguments"),
    "other shape": (_edit("arguments", {"size": 64}), "the architecture wants"),
    "bit flip": (_flip, "is corrupt"),
    "truncated": (lambda p: (p / "weights.safetensors").write_bytes(b"1234"), "is corrupt"),
    "not safetensors": (_not_safetensors, "is not a safetensors file"),
    "missing tensor": (_reweigh(lambda s: s.__delitem__("actor.0.bias")), "lacks the tensor 'actor.0.bias'"),
    "extra tensor": (_reweigh(lambda s: s.update(more=torch.zeros(1))), "the first is 'more'"),
    "NaN weights": (_reweigh(lambda s: s["actor.0.bias"].fill_(torch.nan)), "holds NaN"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_clear_line(saved: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    damage(saved)
    with pytest.raises(PolicyLoadError) as caught:
        load_policy(saved)
    text = str(caught.value)
    assert message in text
    assert str(saved) in text or name in ("unknown architecture", "wrong arguments")
    assert "\n" not in text


def test_missing_directory_and_file(tmp_path: Path) -> None:
    with pytest.raises(PolicyLoadError, match="does not exist"):
        load_card(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(PolicyLoadError, match="is not a directory"):
        load_card(tmp_path / "file")


def test_a_card_that_is_not_valid_is_not_written(
    tmp_path: Path, card: PolicyCard, network: DrivingNetwork
) -> None:
    with pytest.raises(CodriverError, match="id"):
        save_policy(tmp_path / "p", replace(card, id="a/b"), network)
    assert not list(tmp_path.iterdir())
