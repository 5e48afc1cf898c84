"""A desk with a fake Triton behind it, for tests: asks, waits, and keeps every answer."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any

from codriver.v1 import feedback_pb2, feedback_service_pb2, observation_pb2
from feedback_service.desk.asker import Asker, outcome_name
from feedback_service.desk.desk import Desk
from feedback_service.desk.row import RowKey
from feedback_service.desk.settings import CoachSettings, Limits, Route
from feedback_service.triton.client import TritonClient
from tests.feedback_service.fake_triton import FakeModel, FakeTriton

VLM, CLIP = feedback_pb2.FEEDBACK_KIND_VLM_ACTION, feedback_pb2.FEEDBACK_KIND_CLIP_REWARD
KINDS = {"vlm": VLM, "clip": CLIP}
QUICK = {
    "breaker_pause_s": 0.05,
    "breaker_longest_pause_s": 0.2,
    "retry_pause_s": 0.02,
    "reconnect_grace_s": 0.1,
}
LONG_S = 30.0
"""Longer than anything that ends by itself takes on a busy machine."""


def picture(number: int = 0, size: int = 192) -> bytes:
    """A PNG header of the right size with a number behind it: as much of a picture as the service looks at."""
    header = b"IHDR" + struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">II", zlib.crc32(header), number)
    )


def key(step: int = 0, env: int = 0, episode: int = 0, session: str = "s") -> feedback_pb2.FeedbackKey:
    return feedback_pb2.FeedbackKey(session_id=session, env=env, episode=episode, step=step)


def request(
    step: int = 0,
    env: int = 0,
    episode: int = 0,
    session: str = "s",
    coach: str = "vlm",
    number: int | None = None,
    **fields: Any,
) -> feedback_service_pb2.AnnotationRequest:
    """A request; each key has a picture of its own unless ``number`` says otherwise."""
    if number is None:
        number = zlib.crc32(repr((step, env, episode, session)).encode())
    fields.setdefault("picture", picture(number))
    fields.setdefault("kind", KINDS.get(coach, VLM))
    fields.setdefault(
        "context", observation_pb2.FeedbackContext(command=3, forward_speed_mps=3.0, target_x_m=20.0)
    )
    return feedback_service_pb2.AnnotationRequest(key=key(step, env, episode, session), coach=coach, **fields)


class Stream:
    """One asker and all that it was answered."""

    def __init__(self, desk: Desk) -> None:
        self.answers: list[feedback_pb2.Feedback] = []
        self.asked: Counter[tuple[str, RowKey]] = Counter()
        self._more = asyncio.Event()
        self.asker: Asker = desk.open_stream(self._take)

    def _take(self, feedback: feedback_pb2.Feedback) -> None:
        self.answers.append(feedback)
        self._more.set()

    def ask(self, *args: Any, **fields: Any) -> None:
        asked = request(*args, **fields)
        self.asked[asked.coach, RowKey.of(asked.key)] += 1
        self.asker.ask(asked)

    async def wait(self, count: int | None = None, within_s: float = LONG_S) -> list[feedback_pb2.Feedback]:
        """Waits for that many answers, or for one to everything that was asked."""
        async with asyncio.timeout(within_s):
            while len(self.answers) < (self.asked.total() if count is None else count):
                self._more.clear()
                await self._more.wait()
        return self.answers

    def outcomes(self) -> Counter[str]:
        return Counter(outcome_name(feedback) for feedback in self.answers)

    def by_step(self) -> dict[int, list[feedback_pb2.Feedback]]:
        found = defaultdict(list)
        for feedback in self.answers:
            found[feedback.key.step].append(feedback)
        return found

    def check_all_answered_once(self) -> None:
        answered = Counter((feedback.coach, RowKey.of(feedback.key)) for feedback in self.answers)
        assert answered == self.asked
        assert self.asker.pending == 0


class Bench:
    """Everything together."""

    def __init__(self, triton: FakeTriton, client: TritonClient, desk: Desk, metrics: Any) -> None:
        self.triton, self.client, self.desk, self.metrics = triton, client, desk, metrics

    @property
    def vlm(self) -> FakeModel:
        return self.triton.models["vlm_action"]

    @property
    def clip(self) -> FakeModel:
        return self.triton.models["clip_score"]

    def stream(self) -> Stream:
        return Stream(self.desk)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(LONG_S):
            while not condition():
                await asyncio.sleep(0.005)


class Told:
    """Metrics that remember."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()
        self.states: list[str] = []
        self.queue: tuple[int, int] = (0, 0)
        self.rows_of_calls: list[int] = []

    def asked(self, coach: str) -> None:
        self.counts["asked", coach] += 1

    def answered(self, coach: str, outcome: str, cached: bool) -> None:
        self.counts["answered", coach, outcome] += 1
        self.counts["cached", coach] += cached

    def waited(self, coach: str, seconds: float) -> None:
        assert seconds >= 0

    def queue_changed(self, coach: str, queued: int, in_flight: int) -> None:
        self.queue = queued, in_flight

    def called(self, coach: str, rows: int, seconds: float, result: str) -> None:
        self.counts["called", coach, result] += 1
        self.rows_of_calls.append(rows)

    def retried(self, coach: str, rows: int) -> None:
        self.counts["retried", coach] += rows

    def breaker_changed(self, coach: str, state: str) -> None:
        self.states.append(state)


@contextlib.asynccontextmanager
async def bench(
    path: Any, limits: dict[str, Any] | None = None, loaded: bool = True, **settings: Any
) -> AsyncIterator[Bench]:
    """A desk with coaches "vlm" and "clip", whose models serve at a fake Triton on a unix socket under ``path``."""
    triton = FakeTriton(f"unix:{path}/triton", vlm_action=FakeModel("vlm"), clip_score=FakeModel("clip"))
    async with triton:
        client = TritonClient(triton.address)
        metrics = Told()
        desk = Desk(
            [CoachSettings("vlm", VLM, **settings), CoachSettings("clip", CLIP, **settings)],
            client,
            Limits(**{**QUICK, **(limits or {})}),
            metrics,
        )
        await desk.start()
        if loaded:
            await desk.coach("vlm").switch(Route("vlm_action", "small-vlm", "v1"))
            await desk.coach("clip").switch(Route("clip_score", "small-clip", "c1"))
        try:
            yield Bench(triton, client, desk, metrics)
        finally:
            await desk.close()
            await client.close()
