"""``RemoteEnv`` on SUMO: Gymnasium's own check passes, and Stable-Baselines3 trains, unchanged."""

from __future__ import annotations

import itertools
import threading
import warnings

import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium.utils.env_checker import check_env

from codriver.errors import CodriverError
from codriver.gym import RemoteEnv
from sim_clients.drive.config import WorkerConfig
from sim_clients.drive.loop import DriveLoop
from sim_clients.drive.pool import WorkerPool
from sim_clients.drive.session import open_drive
from sim_clients.simulator import EpisodeTask
from sim_clients.simulators import load_simulator

TASK = EpisodeTask(
    route_seed=1, traffic_seed=2, vehicles=5, walkers=3, min_route_m=100.0, min_signals=0, endless=True
)


@pytest.fixture
def env(tmp_path):
    """A remote environment with SUMO behind it, which drives the same task again and again."""
    env = RemoteEnv(f"unix:{tmp_path}/env", connect_timeout_s=90)

    def drive():
        config = WorkerConfig(0, "sumo", load_simulator("sumo").training_town, mode="train")
        try:
            with WorkerPool([config]) as pool, open_drive(env.address, 1, timeout_s=100) as answer:
                DriveLoop(pool, itertools.repeat(TASK), answer).run()
        except CodriverError as error:
            ended.append(error.reason)

    ended: list[str] = []
    simulator = threading.Thread(target=drive)
    simulator.start()
    yield env
    env.close()
    simulator.join(30)
    assert ended == ["DRAINED"]


def test_check_env_on_sumo(env):
    """Episodes of one task are equal to the bit, so even the determinism checks hold."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Box.*(infinity|precision).*")
        warnings.filterwarnings("ignore", message=".*spec.*")
        check_env(env, skip_render_check=True)


def test_stable_baselines3_trains_on_sumo(env):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = stable_baselines3.PPO(
        "MultiInputPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=3, device="cpu"
    )
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(96)
    torch.set_num_threads(threads)
    assert model.num_timesteps == 96
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters()))
    assert all(torch.isfinite(parameter).all() for parameter in model.policy.parameters())
    observation, _ = env.reset()
    action, _ = model.predict(observation, deterministic=True)
    observation, reward, _, _, _ = env.step(action)
    assert observation["bev_masks"].any() and np.isfinite(reward)
