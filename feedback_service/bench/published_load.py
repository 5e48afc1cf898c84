"""What the published queue answers of a load, and how late: environments that ask and poll at every step."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Any

from feedback_service.bench import virtual_time
from feedback_service.bench.published_queue import CLIP, VLM, Asked, PublishedQueue


@dataclass(frozen=True)
class PublishedLoad:
    """One measurement, in virtual time.

    Attributes:
        kind: ``vlm`` or ``clip``.
        envs: Environments; each asks at every one of its steps, all at the same instants.
        step_s: Time of a step.
        seconds: How long they drive.
        batch_s: Time of the model for a batch, whatever its size.
        row_s: Time of the model for each row of it, on top.
        wait_s: How long they go on polling after the drive, which the published ones do not.
        repaired: True: answers are not lost. False: as released.
    """

    kind: str
    envs: int = 4
    step_s: float = 0.1
    seconds: float = 60.0
    batch_s: float = 0.0
    row_s: float = 0.0
    wait_s: float = 60.0
    repaired: bool = False


def published(load: PublishedLoad) -> dict[str, Any]:
    """The figures of a load.

    Returns:
        ``asked``, ``answered``, ``availability`` (their quotient), ``never_ran``, ``lost`` (computed, and reached
        nobody), ``largest_batch``, ``entries_kept``, ``latency_s_p50_p99`` and ``age_steps_p50_p99`` of what was
        answered (None: nothing was).
    """
    return virtual_time.run(_measure(load))


async def _measure(load: PublishedLoad) -> dict[str, Any]:
    async def infer(rows: int) -> None:
        await asyncio.sleep(load.batch_s + load.row_s * rows)

    settings = {"vlm": VLM, "clip": CLIP}[load.kind]
    answered: list[Asked] = []
    queue = PublishedQueue(
        replace(settings, writes_back=settings.writes_back or load.repaired), infer, answered.append
    )
    server = asyncio.ensure_future(queue.run())
    steps = round(load.seconds / load.step_s)
    begin = asyncio.get_running_loop().time()
    asked = 0
    for step in range(steps + round(load.wait_s / load.step_s)):
        for env in range(load.envs):
            if step < steps:
                await queue.ask(env, step)
                asked += 1
            queue.poll(env)
        await asyncio.sleep(max(0.0, begin + (step + 1) * load.step_s - asyncio.get_running_loop().time()))
    server.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await server
    late = [one.answered_s - one.asked_s for one in answered if one.answered_s is not None]
    return {
        "asked": asked,
        "answered": len(answered),
        "availability": len(answered) / asked if asked else 0.0,
        "never_ran": queue.waiting,
        "lost": queue.lost,
        "largest_batch": max(queue.batches, default=0),
        "entries_kept": queue.entries,
        "latency_s_p50_p99": _percentiles(late),
        "age_steps_p50_p99": _percentiles([round(seconds / load.step_s) for seconds in late]),
    }


def _percentiles(values: list[float] | list[int]) -> list[float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99)]
