"""A model of the published asynchronous queue, to stand beside ours: its semantics, written anew.

What is modelled, and of what it is made here:

- One request an environment step goes into a queue without bound. Nothing has a deadline, and nothing is dropped.
- One loop a model collects a batch *while it has fewer rows than the batch size or the wait is not over*. So the batch
  size is a least size, not a limit: a batch runs when it has enough rows **and** the wait is over, with every row that
  came until then. The last rows, fewer than a batch, never run.
- Answers go into a slot per environment, which the environment empties when it polls. The loop of the language model
  appends to what it read from the slot; once a poll has replaced the slot by a plain list, that is a copy, and the
  answer is gone. The loop of CLIP writes the slot back.
- An environment waits for room only while its slot is empty of any list, which never is so after the start.
- Two tables keep an entry per request for ever.

Left out, in its favour: the race of CLIP's write-back with a poll, what the processes in between cost, and the swap of
the picture with the one after the step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PublishedSettings:
    """Parameters of one of its loops.

    Attributes:
        batch_rows: Rows that a batch waits for.
        wait_s: Time that a batch waits for, too.
        writes_back: The loop writes an environment's slot back after it has appended to it.
        room_tries: How often an environment looks whether there is room.
        room_pause_s: Time between two looks.
    """

    batch_rows: int
    wait_s: float
    writes_back: bool
    room_tries: int = 100
    room_pause_s: float = 0.01


VLM = PublishedSettings(batch_rows=64, wait_s=10.0, writes_back=False)
"""The language model's loop, as released."""
CLIP = PublishedSettings(batch_rows=32, wait_s=0.01, writes_back=True)
"""CLIP's loop, as released."""


@dataclass(eq=False)
class Asked:
    """One request and what became of it; times on the loop's clock.

    Attributes:
        env: Environment that asked.
        step: Its step.
        asked_s: When.
        ran_s: When its batch was done. None: it never ran.
        answered_s: When the environment got the answer. None: it never did.
    """

    env: int
    step: int
    asked_s: float
    ran_s: float | None = None
    answered_s: float | None = None


@dataclass
class _Slot:
    """Answers for an environment. ``shared``: appending to what was read changes the slot itself."""

    answers: list[Asked] = field(default_factory=list)
    shared: bool = True


class PublishedQueue:
    """The queue and its loop.

    Args:
        settings: Of the loop.
        infer: Runs a batch of so many rows; returns when it is done.
        on_answer: Called with a request when its environment gets the answer.

    Attributes:
        batches: Rows of each batch that ran.
        lost: Answers that were computed and reach nobody.
        entries: Entries of the tables that keep every request.
    """

    def __init__(
        self,
        settings: PublishedSettings,
        infer: Callable[[int], Awaitable[None]],
        on_answer: Callable[[Asked], None],
    ) -> None:
        self._settings, self._infer, self._on_answer = settings, infer, on_answer
        self._queue: asyncio.Queue[Asked] = asyncio.Queue()
        self._slots: dict[int, _Slot | None] = {}
        self._collected = 0
        self.batches: list[int] = []
        self.lost = 0
        self.entries = 0

    @property
    def waiting(self) -> int:
        """Requests that have not run."""
        return self._queue.qsize() + self._collected

    async def ask(self, env: int, step: int) -> Asked:
        """Takes a request in, after waiting for room as the published environments do."""
        self._slots.setdefault(env, _Slot())
        for _ in range(self._settings.room_tries):
            if self._slots[env] is not None:
                break
            await asyncio.sleep(self._settings.room_pause_s)
        asked = Asked(env, step, asyncio.get_running_loop().time())
        self.entries += 2
        self._queue.put_nowait(asked)
        return asked

    def poll(self, env: int) -> Sequence[Asked]:
        """Empties an environment's slot, as at each of its steps; returns what was in it."""
        slot = self._slots.get(env)
        answers = slot.answers if slot is not None else []
        self._slots[env] = _Slot(shared=False)
        now = asyncio.get_running_loop().time()
        for asked in answers:
            asked.answered_s = now
            self._on_answer(asked)
        return answers

    async def run(self) -> None:
        """The loop: collects, runs, hands out, for ever."""
        while True:
            batch = await self._collect()
            await self._infer(len(batch))
            self._collected = 0
            self.batches.append(len(batch))
            for asked in batch:
                self._hand_out(asked)

    async def _collect(self) -> list[Asked]:
        loop, settings = asyncio.get_running_loop(), self._settings
        batch: list[Asked] = []
        until = loop.time() + settings.wait_s
        while len(batch) < settings.batch_rows or loop.time() < until:
            left_s = until - loop.time()
            try:
                # Past the wait, a batch that is too small waits on for its next row.
                batch.append(await asyncio.wait_for(self._queue.get(), left_s if left_s > 0 else None))
            except TimeoutError:
                continue
            self._collected = len(batch)
        return batch

    def _hand_out(self, asked: Asked) -> None:
        asked.ran_s = asyncio.get_running_loop().time()
        slot = self._slots.get(asked.env)
        if slot is None:
            slot = self._slots[asked.env] = _Slot()
        if slot.shared or self._settings.writes_back:
            slot.answers.append(asked)
        else:
            self.lost += 1
