"""Load straight at a feedback service: as many requests as it takes, or so many a second.

A program of its own (``python -m feedback_service.bench.annotate_load '{...}'``), one measurement each. Every request
has a key of its own; answers are counted by key.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import numpy as np

from codriver.driving import observation_spec
from codriver.v1 import feedback_pb2, feedback_service_pb2_grpc, observation_pb2
from codriver.v1 import feedback_service_pb2 as pb
from codriver.v1.observation_pb2 import RouteCommand
from feedback_service.bench.frames import load

EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # not in the stubs
FRAMES = 512
TICK_S = 0.005
_KINDS = {"vlm": feedback_pb2.FEEDBACK_KIND_VLM_ACTION, "clip": feedback_pb2.FEEDBACK_KIND_CLIP_REWARD}


@dataclass(frozen=True)
class AnnotateJob:
    """One measurement.

    Attributes:
        address: Feedback service.
        coach: Coach to ask.
        seconds: How long to ask.
        outstanding: Closed loop: so many unanswered requests at a time. 0: open loop.
        rate_per_s: Open loop: requests a second.
        envs: Environments that take turns in asking; each asks at ``rate_per_s / envs``.
        timeout_ms: Longest wait for an answer.
        max_age_steps: As in the contract; 0: no limit.
        wait_s: How long to wait for the last answers.
        data: Dataset to show; empty: made-up rows.
    """

    address: str
    coach: str
    seconds: float = 3.0
    outstanding: int = 0
    rate_per_s: float = 0.0
    envs: int = 8
    timeout_ms: int = 0
    max_age_steps: int = 0
    wait_s: float = 20.0
    data: str = ""


class AnnotateLoad:
    """One Annotate stream and the account of its keys.

    Args:
        job: What to do.
    """

    def __init__(self, job: AnnotateJob) -> None:
        self._job = job
        self._frames = load(job.data, FRAMES)
        self._kind = _KINDS[job.coach.partition("-")[0]]
        self._sent: dict[tuple[int, int], float] = {}
        self._steps = [0] * job.envs
        self._count = 0
        self._answers: Counter[tuple[int, int]] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._latencies_s: list[float] = []
        self._ages: list[int] = []
        self._bursts: list[tuple[float, int]] = []
        self._end = float("inf")
        # Keys of its own: a service remembers what it has answered.
        self._session_id = f"bench-{secrets.token_hex(8)}"
        self._room = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        """Asks; the figures."""
        job = self._job
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(job.address, options=options) as channel:
            call: Any = feedback_service_pb2_grpc.FeedbackServiceStub(channel).Annotate()
            picture = next(spec for spec in observation_spec(picture=True).tensors if spec.name == "picture")
            await call.write(pb.AnnotateRequest(picture_spec=picture))
            reader = asyncio.create_task(self._read(call))
            begin = time.perf_counter()
            self._end = begin + job.seconds
            await (self._closed_loop(call) if job.outstanding else self._open_loop(call, begin))
            asked = self._count
            deadline = time.perf_counter() + job.wait_s
            while self._sent and time.perf_counter() < deadline:
                await asyncio.sleep(0.02)
            await call.done_writing()
            reader.cancel()
        answered = sum(self._answers.values())
        return {
            "job": asdict(job),
            "asked": asked,
            "values_per_s": self._rate(),
            "outcomes": dict(self._outcomes),
            "availability": self._outcomes["value"] / asked,
            "unanswered": len(self._sent),
            "duplicated": answered - len(self._answers),
            "latency_s_p50_p99": _percentiles(self._latencies_s),
            "age_steps_p50_p99": _percentiles(self._ages),
        }

    async def _closed_loop(self, call: Any) -> None:
        while time.perf_counter() < self._end:
            room = self._job.outstanding - len(self._sent)
            if room > 0:
                await self._ask(call, room)
            else:
                self._room.clear()
                await asyncio.wait_for(self._room.wait(), 60.0)

    async def _open_loop(self, call: Any, begin: float) -> None:
        """Asks by the clock, whether or not answers come."""
        while (now := time.perf_counter()) < self._end:
            due = int((now - begin) * self._job.rate_per_s) - self._count
            if due > 0:
                await self._ask(call, due)
            await asyncio.sleep(TICK_S)

    async def _ask(self, call: Any, count: int) -> None:
        job, frames = self._job, self._frames
        requests = pb.AnnotationRequests()
        now = time.perf_counter()
        for _ in range(count):
            env = self._count % job.envs
            step = self._steps[env]
            pick = self._count % len(frames)
            key = feedback_pb2.FeedbackKey(session_id=self._session_id, env=env, step=step)
            context = observation_pb2.FeedbackContext(
                command=RouteCommand.Name(frames.commands[pick]),
                forward_speed_mps=float(frames.speeds_mps[pick]),
                target_x_m=40.0,
            )
            requests.requests.add(
                key=key,
                coach=job.coach,
                kind=self._kind,
                picture=frames.pictures[pick],
                context=context,
                timeout_ms=job.timeout_ms,
                max_age_steps=job.max_age_steps,
            )
            self._sent[env, step] = now
            self._steps[env] += 1
            self._count += 1
        await call.write(pb.AnnotateRequest(requests=requests))

    async def _read(self, call: Any) -> None:
        while (response := await call.read()) is not EOF:
            now = time.perf_counter()
            values = sum(self._take(feedback, now) for feedback in response.feedback)
            if values and now <= self._end:
                self._bursts.append((now, values))
            self._room.set()

    def _rate(self) -> float:
        """Values a second, between the first and the last that came while requests were made.

        Values come in batches; to count from the first request on would give the share of a batch away.
        """
        if len(self._bursts) < 2:
            return sum(values for _, values in self._bursts) / self._job.seconds
        (first, _), (last, _) = self._bursts[0], self._bursts[-1]
        return sum(values for _, values in self._bursts[1:]) / (last - first)

    def _take(self, feedback: feedback_pb2.Feedback, now: float) -> bool:
        """Notes an answer; whether it is a value."""
        key = (feedback.key.env, feedback.key.step)
        self._answers[key] += 1
        sent = self._sent.pop(key, None)
        if feedback.WhichOneof("outcome") == "unavailable":
            name = feedback_pb2.UnavailableReason.Name(feedback.unavailable.reason)
            self._outcomes[name.removeprefix("UNAVAILABLE_REASON_").lower()] += 1
            return False
        self._outcomes["value"] += 1
        if sent is not None:
            self._latencies_s.append(now - sent)
            self._ages.append(self._steps[feedback.key.env] - 1 - feedback.key.step)
        return True


def _percentiles(values: list[Any]) -> list[float] | None:
    return [round(float(p), 4) for p in np.percentile(values, [50, 99])] if values else None


if __name__ == "__main__":
    print(json.dumps(asyncio.run(AnnotateLoad(AnnotateJob(**json.loads(sys.argv[1]))).run())))
