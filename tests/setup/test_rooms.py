"""The house plan, kept: who may import whom, and what nobody may import."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "codriver": ROOT / "clients" / "python" / "codriver",
    "sim_clients": ROOT / "sim_clients",
    "agent_server": ROOT / "agent_server",
    "feedback_service": ROOT / "feedback_service",
}
FORBIDDEN = {
    "codriver": {"sim_clients", "agent_server", "feedback_service", "torch", "cv2", "libsumo"},
    "sim_clients": {"agent_server", "feedback_service", "torch"},
    "agent_server": {"sim_clients", "feedback_service", "libsumo", "traci", "carla", "cv2"},
    "feedback_service": {"sim_clients", "agent_server", "libsumo", "cv2"},
}
IN_THE_COACH_ENVIRONMENT = ("models", "finetune", "measure", "bench")
"""Folders of the feedback service with files that run beside torch, transformers and open_clip (.venv-coach)."""
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_programs_meet_only_in_the_contract(room):
    files = [path for path in ROOMS[room].rglob("*.py") if "_pb2" not in path.name]
    assert files
    offences = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in files
        if (found := imports(path) & FORBIDDEN[room])
    }
    assert not offences


def test_the_feedback_service_itself_needs_no_model_library():
    heavy = {"torch", "torchvision", "transformers", "open_clip"}
    room = ROOMS["feedback_service"]
    offences = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in room.rglob("*.py")
        if path.relative_to(room).parts[0] not in IN_THE_COACH_ENVIRONMENT
        and (found := imports(path) & heavy)
    }
    assert not offences


@pytest.mark.parametrize("room", ROOMS)
def test_no_pickle_anywhere(room):
    offences = {}
    for path in ROOMS[room].rglob("*.py"):
        found = sorted(imports(path) & PICKLES)
        if re.search(r"(?<!\.)\btorch\.load\(|allow_pickle=True", path.read_text()):
            found.append("a loader that unpickles")
        if found:
            offences[str(path.relative_to(ROOT))] = found
    assert not offences
