"""The ways in for people who bring their own: a Gymnasium environment, and a simulator of 50 lines."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "own_simulator.py"

GYMNASIUM = """
import sys, warnings
from gymnasium.utils.env_checker import check_env
from codriver.gym import drive_env
from sim_clients.gymnasium_env import DrivingGymEnv

env = DrivingGymEnv("sumo", "acorn", vehicles=5, walkers=3, max_steps=20)
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*spec.*")
    check_env(env, skip_render_check=True)
for episode in drive_env(env, sys.argv[1], episodes=2, seed=1):
    print("episode", episode.length, episode.terminated, round(episode.total_reward, 6))
env.close()
"""
"""In a process of its own: libsumo holds one simulation a process."""


def test_the_gymnasium_environment_passes_the_check_and_is_driven_by_a_remote_policy(server):
    ended = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", GYMNASIUM, server["tcp"]],
        cwd=ROOT, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lengths = [int(line.split()[1]) for line in ended.stdout.splitlines() if line.startswith("episode")]
    assert len(lengths) == 2 and all(0 < length <= 20 for length in lengths)


def test_the_example_simulator_drives(server):
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE), server["tcp"]], capture_output=True, text=True, timeout=110
    )
    assert ended.returncode == 0, ended.stderr
    rows = re.findall(r"^ *([\d.]+) s +([\d.]+) m/s +gap +(-?[\d.]+) m", ended.stdout, re.MULTILINE)
    assert len(rows) == 15 and float(rows[0][0]) == 0.0
    assert float(rows[-1][1]) > 0  # this policy steps on the throttle


def test_the_example_is_50_lines():
    text = EXAMPLE.read_text()
    docs = sum(
        len(doc.splitlines())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Module, ast.FunctionDef)) and (doc := ast.get_docstring(node))
    )
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) - docs <= 50


def test_the_examples_history_stands_where_the_car_ahead_was(monkeypatch):
    """Seen from where the ego is now, the car ahead was 1.5 m further back for each half second before."""
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    import numpy as np
    import own_simulator

    masks = own_simulator.observe(5.0, 20.0, np.zeros(3, np.float32))["bev_masks"]
    bottoms = [int(np.flatnonzero(masks[channel].any(axis=1)).max()) for channel in (6, 5, 4, 3)]
    assert np.abs(np.diff(bottoms) - 1.5 * 2.5).max() <= 1
    assert (masks[3:7].sum(axis=(1, 2)) > 0).all() and not masks[7:].any()
