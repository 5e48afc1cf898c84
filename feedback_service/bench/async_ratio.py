"""What coaching costs the drive: steps a second with coaches over without, in turns within one run.

Without, the pictures are rendered and sent all the same and nobody is asked. Two loads: bound by the policy (messages
follow each other at once) and bound by the simulator (each message costs it processor time).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Any

from feedback_service.bench.drive_load import DriveJob
from feedback_service.bench.programs import agent_server, feedback_service, injected_triton, once
from feedback_service.bench.report import Say

LATENCIES_S = (0.0, 1.0, 10.0, 40.0)
POLICY_BOUND, SIMULATOR_BOUND = "policy", "simulator"
SIMULATOR_STEP_MS = 12.0
"""Processor time of a message of the simulator-bound load: what SUMO takes for two of its environments."""
DRIVE = "feedback_service.bench.drive_load"


@dataclass(frozen=True)
class Cores:
    """Who runs where.

    Attributes:
        one: Cores of what the load is bound by: the policy, or the simulator; with real models, the whole drive.
        other: Cores of everything else; with real models, Triton and the feedback service.
    """

    one: list[int]
    other: list[int]


def load_of(bound: str, seconds: float, data: str) -> DriveJob:
    """The drive that is bound by the policy or by the simulator."""
    step_ms = SIMULATOR_STEP_MS if bound == SIMULATOR_BOUND else 0.0
    return DriveJob("", envs=8 if bound == POLICY_BOUND else 2, seconds=seconds, step_ms=step_ms, data=data)


def injected(
    cores: Cores,
    seconds: float,
    rounds: int,
    data: str,
    say: Say,
    latencies_s: tuple[float, ...] = LATENCIES_S,
) -> list[dict[str, Any]]:
    """Ratios for a vision-language coach of known latency that is asked at every step, pause rule off.

    Returns:
        One entry a latency and load.
    """
    runs = []
    for latency_s in latencies_s:
        for bound in (POLICY_BOUND, SIMULATOR_BOUND):
            say(f"a coach of {latency_s:g} s, {bound}-bound")
            model, rest = (cores.one, cores.other) if bound == POLICY_BOUND else (cores.other, cores.other)
            drive = cores.other if bound == POLICY_BOUND else cores.one
            with (
                injected_triton(latency_s, cores.other) as triton,
                feedback_service(triton, cores.other, *CONFIGURED) as feedback,
                agent_server(feedback, model, rest) as server,
            ):
                # Rows that wait for a second turn of a slow coach are out of time before it.
                timeout_ms = int(latency_s * 1e3) + 5000
                job = replace(load_of(bound, seconds, data), address=server, timeout_ms=timeout_ms)
                arms = pairs(job, ["vlm"], drive, rounds, wait_s=latency_s + 8.0)
            runs.append({"part": "injected", "latency_s": latency_s, "bound": bound, **arms})
    return runs


CONFIGURED = ("--coach", "vlm=vlm:vlm_action", "--coach", "clip=clip:clip_score")
"""Coaches whose models stand in a Triton of someone else's under these names."""


def pairs(job: DriveJob, coaches: list[str], cores: list[int], rounds: int, wait_s: float) -> dict[str, Any]:
    """Drives without and with coaches in turns; rates, their ratio, and what the coaches answered.

    All answers are waited for after the last round alone: the others only look at the drive.
    """
    off: list[dict[str, Any]] = []
    on: list[dict[str, Any]] = []
    for number in range(rounds):
        # the order changes, so that a machine that slows down is fair to both
        last = number == rounds - 1
        arms = [(off, job), (on, replace(job, coaches=coaches, wait_s=wait_s if last else 0.0))]
        for results, arm in arms if number % 2 == 0 else reversed(arms):
            results.append(once(DRIVE, arm, cores))
    ratios = [with_["steps_per_s"] / without["steps_per_s"] for with_, without in zip(on, off)]
    return {
        "ratio": round(statistics.median(ratios), 4),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "steps_per_s_off": round(statistics.median(result["steps_per_s"] for result in off), 1),
        "steps_per_s_on": round(statistics.median(result["steps_per_s"] for result in on), 1),
        "unanswered": on[-1]["unanswered"],
        "duplicated": sum(result["duplicated"] for result in on),
        "coaches": on[-1]["coaches"],
    }


def real_models(cores: Cores, seconds: float, rounds: int, data: str, say: Say) -> list[dict[str, Any]]:
    """Ratios with the shipped models: the drive on one core, Triton and the service on the other, in both arms."""
    say("the shipped models, drive and coaches on a core each")
    with (
        feedback_service(
            "embedded", cores.other, "--triton-cores", ",".join(map(str, cores.other))
        ) as feedback,
        agent_server(feedback, cores.one, cores.one) as server,
    ):
        job = DriveJob(server, envs=2, seconds=seconds, step_ms=SIMULATOR_STEP_MS, data=data)
        coached = pairs(job, ["vlm", "clip"], cores.one, rounds, wait_s=15.0)
        runs: list[dict[str, Any]] = [{"part": "real models", "pause_rule_credits": 0, **coached}]
        for credits_per_env in (64, 16, 4):
            say(f"the same with the pause rule, {credits_per_env} credits an environment")
            paused = replace(job, coaches=["vlm", "clip"], credits_per_env=credits_per_env, wait_s=15.0)
            result = once(DRIVE, paused, cores.one)
            runs.append(
                {
                    "part": "pause rule",
                    "pause_rule_credits": credits_per_env,
                    "steps_per_s_on": round(result["steps_per_s"], 1),
                    "paused_env_steps": result["paused_env_steps"],
                    "unanswered": result["unanswered"],
                    "duplicated": result["duplicated"],
                    "coaches": result["coaches"],
                }
            )
    return runs
