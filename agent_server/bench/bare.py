"""The yardstick: the policy's batched forward on decoded arrays, in a process that does nothing else."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from agent_server.bench.frames import frames
from agent_server.bench.worker import work
from agent_server.policies import load_policy


def main(argv: list[str]) -> None:
    """Answers jobs ``{"batch", "seconds"}`` with rate and times of passes.

    Args:
        argv: Policy directory, precision, threads, dataset (may be empty).
    """
    import torch

    path, precision, threads, data = argv
    torch.set_num_threads(int(threads))
    policy = load_policy(path, "bf16" if precision == "bf16" else "fp32")
    rows = frames(policy.card.observation_spec, 64, data)

    def do(job: dict[str, Any]) -> dict[str, Any]:
        batch = int(job["batch"])
        tensors = {name: np.ascontiguousarray(values[:batch]) for name, values in rows.items()}
        policy.forward(tensors)
        times = []
        cpu = time.process_time()
        begin = now = time.perf_counter()
        while now - begin < job["seconds"]:
            policy.forward(tensors)
            before, now = now, time.perf_counter()
            times.append(now - before)
        cpu = time.process_time() - cpu
        p50, p99 = np.percentile(times, [50, 99]) * 1e3
        return {
            "frames_per_s": batch * len(times) / (now - begin),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "cpu_us_per_frame": cpu / (batch * len(times)) * 1e6,
        }

    work(do)


if __name__ == "__main__":
    main(sys.argv[1:])
