"""Policies from disk to ready: load, check, warm up, never on the event loop."""

from __future__ import annotations

import logging
import math
import time

import numpy as np

from agent_server.policies import Policy, PolicyLoadError, load_policy
from agent_server.policies.card import ID_PATTERN
from agent_server.policy_store import LoadedPolicy, PolicyStore
from codriver.codecs.column import numpy_dtype
from codriver.errors import CodriverError, InvalidArgumentError, SpecMismatchError
from codriver.spec import compare_specs

_log = logging.getLogger(__name__)


def load_warm(path: str, cap: int, runtime: str = "torch-fp32", threads: int | None = None) -> Policy:
    """Loads a policy directory and runs it once at batch sizes 1 and ``cap``. Blocks; call it on a thread.

    Args:
        path: The directory.
        cap: Largest batch that it will meet.
        runtime: ``torch-fp32`` or ``torch-bf16``.
        threads: Threads of torch in the calling thread; None: leave them.

    Raises:
        PolicyLoadError: It cannot be loaded, or does not answer.
    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    begin = time.monotonic()
    policy = load_policy(path, "bf16" if runtime == "torch-bf16" else "fp32")
    warm_up(policy, cap)
    _log.info("policy %s from %s is ready after %.1f s", policy.card.id, path, time.monotonic() - begin)
    return policy


def warm_up(policy: Policy, cap: int) -> None:
    """Runs a policy on zeros, so that nobody waits for its first pass.

    Raises:
        PolicyLoadError: It does not answer.
    """
    for rows in sorted({1, cap}):
        tensors = {}
        for spec in policy.card.observation_spec.tensors:
            if not spec.optional:
                tensors[spec.name] = np.zeros((rows, *spec.shape), numpy_dtype(spec))
        try:
            output = policy.forward(tensors)
        except CodriverError as error:
            raise PolicyLoadError(f"policy {policy.card.id!r} does not answer: {error}") from error
        if output.action.shape != (rows, len(policy.card.action_spec.names)) or not math.isfinite(
            float(np.abs(output.action).max())
        ):
            raise PolicyLoadError(f"policy {policy.card.id!r} answers {output.action.shape} for {rows} rows")


def add_to_store(store: PolicyStore, policy: Policy, policy_id: str = "") -> LoadedPolicy:
    """Makes a warm policy the current version of its id.

    Args:
        store: The server's policies.
        policy: The policy.
        policy_id: Id to load it as. Empty: the id in its card.

    Raises:
        InvalidArgumentError: The id is not one.
        SpecMismatchError: The id is served already, with another spec; sessions that follow it could not go on.
    """
    policy_id = policy_id or policy.card.id
    if not ID_PATTERN.match(policy_id):
        raise InvalidArgumentError(
            f"{policy_id!r} is not 1 to 64 of a-z, 0-9, '.', '_' and '-'", field="policy_id"
        )
    key = store.next_key(policy_id)
    if key.version > 1:
        _check_same_spec(policy, store.find(policy_id))
    loaded = LoadedPolicy(key, policy)
    store.add(loaded)
    return loaded


def _check_same_spec(policy: Policy, old: LoadedPolicy) -> None:
    card = policy.card
    found = compare_specs(card.observation_spec, card.action_spec, old.observation_spec, old.action_spec)
    if found:
        raise SpecMismatchError(
            f"policy {old.key.policy_id!r} is served with another spec: {found[0].field} {found[0].description}",
            violations=found,
            hint="Load it under another policy_id.",
        )
    if old.policy.card.stochastic and not card.stochastic:
        raise SpecMismatchError(
            f"policy {old.key.policy_id!r} is served with exploration noise, the new version has none",
            hint="Load it under another policy_id.",
        )
