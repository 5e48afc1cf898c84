"""Policies from disk to ready: load, check, warm up, never on the event loop."""

from __future__ import annotations

import logging
import math
import time

import numpy as np

from agent_server.policies import Policy, PolicyLoadError, load_policy
from codriver.codecs.column import numpy_dtype
from codriver.errors import CodriverError

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
    try:
        import torch
    except ImportError as error:
        raise PolicyLoadError(
            f"policies need torch: {error}", hint="Install the extra: pip install 'codriver[serve]'"
        ) from error
    if threads is not None:
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
