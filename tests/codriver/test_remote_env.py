"""``RemoteEnv`` is a Gymnasium environment whose simulator connects over a real wire."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from codriver import driving  # noqa: E402
from codriver.client import AgentClient  # noqa: E402
from codriver.errors import (  # noqa: E402
    AlreadyExistsError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    SessionLostError,
    SpecMismatchError,
    UnimplementedError,
)
from codriver.gym import RemoteEnv  # noqa: E402
from codriver.v1 import observation_pb2  # noqa: E402
from tests.codriver.point import LENGTH, PointSimulator, point_spec  # noqa: E402

GO = np.array([0.5, 0.0], np.float32)


@pytest.fixture
def env(tmp_path):
    env = RemoteEnv(
        f"unix:{tmp_path}/e", observation_spec=point_spec(), connect_timeout_s=10, step_timeout_s=10
    )
    yield env
    env.close()


def simulate(env, **options):
    simulator = PointSimulator(env.address, **options)
    simulator.start()
    return simulator


def test_episodes_go_by_the_simulator(env):
    simulator = simulate(env, episodes=2)
    for episode in range(2):
        observation, info = env.reset()
        assert observation["state"].tolist() == [0.25, 0] and info == {"step": 0} and env.episode == episode
        for step in range(1, LENGTH + 1):
            observation, reward, terminated, truncated, info = env.step(GO)
            assert reward == pytest.approx(0.25 + 0.05 * step) and not terminated
            assert info["step"] == step and info["applied_action"].tolist() == [0.5, 0]
            assert observation["strip"].sum() == 1
        assert truncated
        with pytest.raises(FailedPreconditionError, match="reset"):
            env.step(GO)
    simulator.join(5)
    assert simulator.lengths == [LENGTH] * 2 and simulator.error is None


def test_termination(env):
    simulate(env)
    env.reset()
    for _ in range(7):
        _, _, terminated, truncated, _ = env.step([1.0, 0.0])
        assert not terminated and not truncated
    _, reward, terminated, truncated, _ = env.step([5.0, 0.0])  # clipped to 1
    assert terminated and not truncated and reward == pytest.approx(1.05)


def test_passes_gymnasiums_own_check(env):
    simulate(env)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box.*(infinity|precision).*")
        warnings.filterwarnings("ignore", message=".*not within the observation space.*")
        warnings.filterwarnings("ignore", message=".*spec.*")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("how", ["abandon", "finish"])
def test_reset_in_mid_episode(tmp_path, how):
    env = RemoteEnv(
        f"unix:{tmp_path}/e", observation_spec=point_spec(), connect_timeout_s=10, early_reset=how
    )
    simulator = simulate(env)
    for _ in range(3):
        env.reset()
        env.step(GO)
        env.step(GO)
        observation, info = env.reset()
        assert info["step"] == 0 and observation["state"][0] == 0.25
    assert simulator.refused == (5 if how == "abandon" else 0)
    assert simulator.actions.count(0.5) == 6
    assert len(simulator.lengths) == (0 if how == "abandon" else 5)
    env.close()


def test_stable_baselines_learns(env):
    """A learner that knows nothing of codriver finds out that going right pays."""
    sb3 = pytest.importorskip("stable_baselines3")
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    simulate(env)
    model = sb3.PPO(
        "MultiInputPolicy",
        env,
        n_steps=128,
        batch_size=128,
        n_epochs=8,
        learning_rate=1e-2,
        seed=1,
        device="cpu",
    )
    model.learn(640)
    total, ended = 0.0, False
    observation, _ = env.reset()
    while not ended:
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + reward, terminated or truncated
    torch.set_num_threads(threads)
    assert total > 4.5  # standing still earns 2.0, the best policy 5.6


def test_simulator_that_vanishes_truncates(env):
    simulate(env, leave_after=2)
    env.reset()
    assert not env.step(GO)[3]
    env.step(GO)
    observation, reward, terminated, truncated, info = env.step(GO)
    assert truncated and not terminated and reward == 0 and "closed its session" in info["lost"]
    assert observation["state"][0] == pytest.approx(0.35)
    simulate(env)
    assert env.reset()[0]["state"][0] == 0.25


def test_nobody_connects(tmp_path):
    env = RemoteEnv("127.0.0.1:0", connect_timeout_s=0.1)
    assert int(env.address.rpartition(":")[2]) > 0
    with pytest.raises(DeadlineExceededError, match=f"codriver drive sumo --server {env.address}"):
        env.reset()
    with pytest.raises(AlreadyExistsError, match="cannot listen"):
        RemoteEnv(env.address)
    first = RemoteEnv(f"unix:{tmp_path}/e")
    with pytest.raises(AlreadyExistsError, match="cannot listen"):
        RemoteEnv(first.address)
    first.close()
    with pytest.raises(InvalidArgumentError, match="not an address"):
        RemoteEnv("nowhere")
    with pytest.raises(InvalidArgumentError, match="allow_plaintext"):
        RemoteEnv("0.0.0.0:0")
    env.close()


def test_no_reward(env):
    simulate(env, reward=False)
    env.reset()
    with pytest.raises(InvalidArgumentError, match="reward_function"):
        env.step(GO)
    env._reward_function = lambda observation, info: float(observation["state"][0]) + info["step"]
    env.reset()
    assert env.step(GO)[1] == pytest.approx(1.3)


@pytest.mark.parametrize("action", [[np.nan, 0.0], [0.0], "x"])
def test_bad_actions_change_nothing(env, action):
    simulate(env)
    env.reset()
    with pytest.raises((InvalidArgumentError, ValueError)):
        env.step(action)
    assert env.step(GO)[1] == pytest.approx(0.3)


def test_driving_spec_and_second_simulator(env, tmp_path):
    with AgentClient(env.address) as client:
        assert client.server_info().policies[0].policy.policy_id == "remote-env"
        with pytest.raises(SpecMismatchError, match="lacks the tensor 'strip'"):
            client.open_session()
        with pytest.raises(InvalidArgumentError, match="session per environment"):
            client.open_session(observation_spec=point_spec(), num_envs=2)
        simulate(env)
        env.reset()
        with pytest.raises(AlreadyExistsError, match="another simulator") as caught:
            client.open_session(observation_spec=point_spec())
        assert caught.value.reason == "ALREADY_ATTACHED"
    driving_env = RemoteEnv(f"unix:{tmp_path}/d")
    space = driving_env.observation_space
    assert space["bev_masks"].shape == (15, 96, 96) and space["state"].dtype == np.float32
    driving_env.close()


def test_bad_rows_never_reach_the_learner(env):
    spec = point_spec()
    with AgentClient(env.address) as client, client.open_session(observation_spec=spec) as session:
        good = observation_pb2.ObservationBatch(env=[0], episode=[0], step=[0], step_kind=[1])
        with pytest.raises(UnimplementedError, match="Drive"):
            session.act(good)
        stream = session.drive()
        good.tensors.add(data=np.zeros(2, np.float32).tobytes())
        good.tensors.add(data=b"\x00\x00")
        bad = observation_pb2.ObservationBatch.FromString(good.SerializeToString())
        bad.tensors[0].data = np.full(2, np.nan, np.float32).tobytes()
        answer = stream.step(bad)
        assert answer.errors[0].field == "tensors[state]" and len(answer.action) == 2
        bad.tensors[0].data = b"1"
        assert "1 bytes" in stream.step(bad).errors[0].detail
        bad.env[0] = 1
        bad.tensors[0].data = good.tensors[0].data
        assert stream.step(bad).errors[0].field == "env"
        stream.send(good)
        assert env.reset()[0]["state"].tolist() == [0, 0]
    with AgentClient(env.address) as client, pytest.raises(SessionLostError):
        client.call("CloseSession", session_close(session))


def session_close(session):
    from codriver.v1 import agent_service_pb2

    return agent_service_pb2.CloseSessionRequest(session_id=session.info.session_id, resume_token="x")


def test_default_spec_is_driving():
    assert driving.SPEC_HASH


def test_closing_tells_the_simulator(env):
    simulator = simulate(env)
    env.reset()
    env.close()
    env.close()
    simulator.join(10)
    assert simulator.error.reason == "DRAINED" and "learner closed" in str(simulator.error)


def test_several_environments_one_simulator_each(tmp_path):
    envs = [
        RemoteEnv(f"unix:{tmp_path}/{i}", observation_spec=point_spec(), connect_timeout_s=60)
        for i in range(3)
    ]
    for env in envs:
        simulate(env)
    vector = gymnasium.vector.SyncVectorEnv([lambda env=env: env for env in envs])
    observation, _ = vector.reset()
    for _ in range(LENGTH + 3):
        observation, rewards, _, _, _ = vector.step(np.tile(GO, (3, 1)))
    assert observation["state"].shape == (3, 2) and rewards.tolist() == pytest.approx([0.35] * 3)
    vector.close()
