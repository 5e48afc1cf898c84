"""Bridge (a): my simulator is a Gymnasium environment, drive it with a remote policy."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple

import gymnasium
import numpy as np

from codriver.client import AgentClient
from codriver.errors import NotFoundError
from codriver.gym.spaces import check_fit, to_tensors
from codriver.policy import RemotePolicy

VectorEnv = gymnasium.vector.VectorEnv


class DrivenEpisode(NamedTuple):
    """One episode that a remote policy drove.

    Attributes:
        env: Environment that it ran in.
        total_reward: Sum of its rewards.
        length: Steps taken.
        terminated: True: it ended in a terminal state; False: it was cut.
        info: What the environment said of its last step (a vector environment's columns, as they came).
    """

    env: int
    total_reward: float
    length: int
    terminated: bool
    info: Dict[str, Any]


def policy_for_env(
    env: Any, server: str | AgentClient, *, policy: str = "", timeout_s: float = 10.0
) -> RemotePolicy:
    """A remote policy whose session fits an environment.

    Args:
        env: A Gymnasium environment or vector environment. Its observation is a box or a dictionary of boxes with
            the names of the policy's tensors; its action a box that holds the policy's.
        server: Address of an agent server, or a client.
        policy: Policy id. Empty: the server's default.
        timeout_s: Longest wait of every call.

    Raises:
        SpecMismatchError: The environment does not fit the policy; every difference is named.
        NotFoundError: The server has no such policy.
        CodriverError: The server cannot be reached.
    """
    client = AgentClient(server, timeout_s=timeout_s) if isinstance(server, str) else server
    try:
        offered = {info.policy.policy_id: info for info in client.server_info(timeout_s).policies}
        chosen = policy or next(iter(offered))
        if chosen not in offered:
            raise NotFoundError(
                f"there is no policy {chosen!r}; the server has {', '.join(offered)}",
                reason="UNKNOWN_POLICY",
                field="policy",
            )
        info = offered[chosen]
    finally:
        if isinstance(server, str):
            client.close()
    vector = _is_vector(env)
    check_fit(
        env.single_observation_space if vector else env.observation_space,
        env.single_action_space if vector else env.action_space,
        info.observation_spec,
        info.action_spec,
    )
    return RemotePolicy(
        server,
        env.num_envs if vector else 1,
        timeout_s=timeout_s,
        policy=chosen,
        observation_spec=info.observation_spec,
        action_spec=info.action_spec,
        client_name=f"codriver-gym {type(env).__name__}"[:128],
    )


def drive_env(
    env: Any,
    server: str | AgentClient,
    *,
    episodes: int | None = None,
    policy: str = "",
    seed: int | None = None,
    timeout_s: float = 10.0,
) -> Iterator[DrivenEpisode]:
    """Drives an environment with a remote policy and yields each episode as it ends.

    Five lines::

        env = gymnasium.make_vec("MyDriving-v0", num_envs=8)
        for episode in drive_env(env, "127.0.0.1:50051", episodes=100):
            print(episode.total_reward, episode.length)

    Args:
        env: A Gymnasium environment, or a vector environment in any autoreset mode.
        server: Address of an agent server, or a client.
        episodes: Stop after this many. None: until the caller stops.
        policy: Policy id. Empty: the server's default.
        seed: Seed of the first reset.
        timeout_s: Longest wait of every call.

    Raises:
        CodriverError: As :func:`policy_for_env`; and whatever ends a call to the server.
    """
    with policy_for_env(env, server, policy=policy, timeout_s=timeout_s) as remote:
        steps = _drive_vector(env, remote, seed) if _is_vector(env) else _drive_single(env, remote, seed)
        for count, episode in enumerate(steps, 1):
            yield episode
            if count == episodes:
                return


def _drive_single(env: Any, policy: RemotePolicy, seed: int | None) -> Iterator[DrivenEpisode]:
    spec = policy.session.request.observation_spec
    while True:
        observation, _ = env.reset(seed=seed)
        seed = None
        action = policy.infer(_row(to_tensors(observation, spec)))[0]
        total, length, ended = 0.0, 0, False
        while not ended:
            observation, reward, terminated, truncated, info = env.step(action.astype(env.action_space.dtype))
            total, length, ended = total + float(reward), length + 1, bool(terminated or truncated)
            action = policy.infer(
                _row(to_tensors(observation, spec)),
                rewards=[float(reward)],
                terminated=[bool(terminated)],
                truncated=[bool(truncated)],
            )[0]
        yield DrivenEpisode(0, total, length, bool(terminated), info)


def _drive_vector(env: Any, policy: RemotePolicy, seed: int | None) -> Iterator[DrivenEpisode]:
    """One message a step. What differs between autoreset modes is where the observation after an end comes from."""
    spec = policy.session.request.observation_spec
    mode = _autoreset_mode(env)
    dtype = env.single_action_space.dtype
    totals, lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, int)
    observation, _ = env.reset(seed=seed)
    actions = policy.infer(to_tensors(observation, spec))
    fresh = np.zeros(
        env.num_envs, bool
    )  # NEXT_STEP: these ended on the step before, and are reset by this one
    while True:
        observation, rewards, terminated, truncated, info = env.step(actions.astype(dtype))
        ended = (terminated | truncated) & ~fresh
        totals[~fresh] += np.asarray(rewards)[~fresh]
        lengths[~fresh] += 1
        tensors = to_tensors(observation, spec)
        if mode == "SAME_STEP" and ended.any():
            # the observation is already that of the next episode: the final one travels in a message of its own
            rows = np.flatnonzero(ended).tolist()
            policy.infer(
                _final_tensors(info, rows, tensors, spec),
                envs=rows,
                rewards=np.asarray(rewards)[rows],
                terminated=terminated[rows],
                truncated=truncated[rows],
            )
            actions = policy.infer(tensors, rewards=np.where(ended, 0.0, rewards))
        else:
            actions = policy.infer(
                tensors,
                rewards=np.where(fresh, 0.0, rewards),
                terminated=terminated & ended,
                truncated=truncated & ended,
            )
        for index in np.flatnonzero(ended).tolist():
            yield DrivenEpisode(
                index, float(totals[index]), int(lengths[index]), bool(terminated[index]), info
            )
        totals[ended], lengths[ended] = 0.0, 0
        fresh = ended if mode == "NEXT_STEP" else np.zeros_like(ended)
        if mode == "DISABLED" and ended.any():
            observation, _ = env.reset(options={"reset_mask": ended})
            rows = np.flatnonzero(ended).tolist()
            tensors = to_tensors(observation, spec)
            actions = actions.copy()
            actions[rows] = policy.infer({name: value[rows] for name, value in tensors.items()}, envs=rows)


def _final_tensors(info: Dict[str, Any], rows: List[int], like: Dict[str, Any], spec: Any) -> Dict[str, Any]:
    final = info["final_obs"] if "final_obs" in info else info["final_observation"]  # Gymnasium 1 and 0.29
    singles = [to_tensors(final[row], spec) for row in rows]
    return {name: np.stack([single[name] for single in singles]) for name in like}


def _autoreset_mode(env: Any) -> str:
    mode = (getattr(env, "metadata", None) or {}).get("autoreset_mode")
    if mode is None:
        return "SAME_STEP" if gymnasium.__version__.startswith("0.") else "NEXT_STEP"
    return str(getattr(mode, "name", mode)).upper()


def _is_vector(env: Any) -> bool:
    return isinstance(env, VectorEnv) or hasattr(env, "single_action_space")


def _row(tensors: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value[None] for name, value in tensors.items()}
