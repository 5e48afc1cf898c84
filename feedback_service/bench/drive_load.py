"""The drive under test: one session, all environments in each message, pictures with every row.

A program of its own (``python -m feedback_service.bench.drive_load '{...}'``), one measurement each: steps a second,
and what became of the feedback that was asked for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import numpy as np

from codriver.driving import action_spec, observation_spec
from codriver.v1 import agent_service_pb2 as agent_pb
from codriver.v1 import agent_service_pb2_grpc, feedback_pb2, observation_pb2, tensor_pb2
from feedback_service.bench.frames import load

WARM_UP_MESSAGES = 10
EPISODE_STEPS = 1000
FRAMES = 64
EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # not in the stubs


@dataclass(frozen=True)
class DriveJob:
    """One measurement.

    Attributes:
        address: Agent server.
        envs: Environments, all in one message.
        seconds: How long.
        coaches: Coaches to ask about every row; empty: pictures are sent and nobody is asked.
        step_ms: Processor time that the simulator takes for a message; 0: none.
        period_ms: Least time between messages; 0: as fast as answers come.
        credits_per_env: The pause rule; 0: off.
        wait_s: How long to wait for feedback after the drive.
        timeout_ms: Longest wait for an answer; 0: the service's default.
        data: Dataset to show; empty: made-up rows.
    """

    address: str
    envs: int = 8
    seconds: float = 3.0
    coaches: list[str] = field(default_factory=list)
    step_ms: float = 0.0
    period_ms: float = 0.0
    credits_per_env: int = 0
    wait_s: float = 0.0
    timeout_ms: int = 0
    data: str = ""


class DriveLoad:
    """One session and its feedback.

    Args:
        job: What to do.
    """

    def __init__(self, job: DriveJob) -> None:
        self._job = job
        self._frames = load(job.data, FRAMES)
        self._next = [0] * job.envs
        self._owed = [0] * job.envs
        self._asked: set[tuple[str, int, int, int]] = set()
        self._answered: Counter[tuple[str, int, int, int]] = Counter()
        self._outcomes: dict[str, Counter[str]] = {name: Counter() for name in job.coaches}
        self._ages: dict[str, list[int]] = {name: [] for name in job.coaches}
        self._actions: asyncio.Queue[Any] = asyncio.Queue()
        self._fed = asyncio.Event()
        self._paused = 0

    async def run(self) -> dict[str, Any]:
        """Drives; the figures."""
        job = self._job
        async with grpc.aio.insecure_channel(
            job.address, options=[("grpc.max_receive_message_length", -1)]
        ) as channel:
            stub = agent_service_pb2_grpc.AgentServiceStub(channel)
            session = await stub.OpenSession(self._request())
            granted = [coach.coach for coach in session.coaches]
            if sorted(granted) != sorted(job.coaches):
                raise RuntimeError(f"asked for the coaches {job.coaches}, granted are {granted}")
            call: Any = stub.Drive()
            attach = agent_pb.Attach(session_id=session.session_id, resume_token=session.resume_token)
            await call.write(agent_pb.DriveRequest(attach=attach))
            await call.read()
            reader = asyncio.create_task(self._read(call))
            for _ in range(WARM_UP_MESSAGES):
                await self._exchange(call)
            rows, begin = 0, time.perf_counter()
            cpu = time.process_time()
            while (now := time.perf_counter()) - begin < job.seconds:
                rows += await self._exchange(call)
                spare = job.period_ms / 1e3 - (time.perf_counter() - now)
                if spare > 0:
                    await asyncio.sleep(spare)
            elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
            deadline = time.perf_counter() + job.wait_s
            while self._asked and time.perf_counter() < deadline:
                await asyncio.sleep(0.05)
            await call.done_writing()
            reader.cancel()
            request = agent_pb.CloseSessionRequest(
                session_id=session.session_id, resume_token=session.resume_token
            )
            await stub.CloseSession(request)
        return self._report(rows, elapsed, cpu)

    def _request(self) -> agent_pb.OpenSessionRequest:
        job = self._job
        kinds = {
            "vlm": feedback_pb2.FEEDBACK_KIND_VLM_ACTION,
            "clip": feedback_pb2.FEEDBACK_KIND_CLIP_REWARD,
        }
        request = agent_pb.OpenSessionRequest(
            client_name="codriver bench feedback",
            observation_spec=observation_spec(picture=True),
            action_spec=action_spec(),
            num_envs=job.envs,
            feedback_credits_per_env=job.credits_per_env,
        )
        for name in job.coaches:
            request.coaches.add(coach=name, kind=kinds[name.partition("-")[0]], timeout_ms=job.timeout_ms)
        if job.coaches:
            request.feedback_rule.every_k_steps = 1
        return request

    async def _exchange(self, call: Any) -> int:
        job = self._job
        limit = job.credits_per_env
        while limit:
            envs = [env for env in range(job.envs) if self._owed[env] <= limit]
            self._paused += job.envs - len(envs)
            if envs:
                break
            self._fed.clear()
            await self._fed.wait()
        else:
            envs = list(range(job.envs))
        if job.step_ms:
            _burn(job.step_ms / 1e3)
        await call.write(agent_pb.DriveRequest(observations=self._batch(envs)))
        actions = await self._actions.get()
        if actions.errors or len(actions.env) != len(envs):
            raise RuntimeError(f"the server answered: {actions}")
        return len(envs)

    def _batch(self, envs: list[int]) -> observation_pb2.ObservationBatch:
        frames, coaches = self._frames, self._job.coaches
        numbers = [self._next[env] for env in envs]
        steps = [number % EPISODE_STEPS for number in numbers]
        episodes = [number // EPISODE_STEPS for number in numbers]
        picks = [(number + 7 * env) % len(frames) for number, env in zip(numbers, envs)]
        batch = observation_pb2.ObservationBatch(
            env=envs,
            episode=episodes,
            step=steps,
            step_kind=[
                observation_pb2.STEP_KIND_MID if step else observation_pb2.STEP_KIND_FIRST for step in steps
            ],
            tensors=[
                tensor_pb2.TensorColumn(data=b"".join([frames.masks[pick] for pick in picks])),
                tensor_pb2.TensorColumn(data=b"".join([frames.states[pick] for pick in picks])),
                tensor_pb2.TensorColumn(
                    data=b"".join([frames.pictures[pick] for pick in picks]),
                    row_sizes_bytes=[len(frames.pictures[pick]) for pick in picks],
                    rows=range(len(envs)),
                ),
            ],
        )
        for env in envs:
            self._next[env] += 1
        if coaches:
            batch.wants_feedback.extend([True] * len(envs))
            for env, episode, step, pick in zip(envs, episodes, steps, picks):
                batch.feedback_context.add(
                    command=observation_pb2.RouteCommand.Name(frames.commands[pick]),
                    forward_speed_mps=float(frames.speeds_mps[pick]),
                    target_x_m=40.0,
                )
                self._owed[env] += len(coaches)
                self._asked.update((name, env, episode, step) for name in coaches)
        return batch

    async def _read(self, call: Any) -> None:
        while (response := await call.read()) is not EOF:
            if response.HasField("actions"):
                self._actions.put_nowait(response.actions)
            elif response.HasField("feedback"):
                for feedback in response.feedback.feedback:
                    self._take(feedback)
                self._fed.set()

    def _take(self, feedback: feedback_pb2.Feedback) -> None:
        key = (feedback.coach, feedback.key.env, feedback.key.episode, feedback.key.step)
        self._answered[key] += 1
        self._asked.discard(key)
        self._owed[feedback.key.env] -= 1
        outcome = feedback.WhichOneof("outcome")
        if outcome == "unavailable":
            name = feedback_pb2.UnavailableReason.Name(feedback.unavailable.reason)
            self._outcomes[feedback.coach][name.removeprefix("UNAVAILABLE_REASON_").lower()] += 1
        else:
            self._outcomes[feedback.coach]["value"] += 1
            position = feedback.key.episode * EPISODE_STEPS + feedback.key.step
            self._ages[feedback.coach].append(self._next[feedback.key.env] - 1 - position)

    def _report(self, rows: int, elapsed: float, cpu: float) -> dict[str, Any]:
        total = {name: sum(counts.values()) for name, counts in self._outcomes.items()}
        return {
            "job": asdict(self._job),
            "steps_per_s": rows / elapsed,
            "client_cpu_share": cpu / elapsed,
            "paused_env_steps": self._paused,
            "unanswered": len(self._asked),
            "duplicated": sum(count - 1 for count in self._answered.values()),
            "coaches": {
                name: {
                    "outcomes": dict(counts),
                    "availability": counts["value"] / total[name] if total[name] else 0.0,
                    "age_steps_p50_p99": [float(p) for p in np.percentile(self._ages[name], [50, 99])]
                    if self._ages[name]
                    else None,
                }
                for name, counts in self._outcomes.items()
            },
        }


def _burn(seconds: float) -> None:
    """Spends processor time, as a simulator does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(DriveLoad(DriveJob(**json.loads(sys.argv[1]))).run())))
