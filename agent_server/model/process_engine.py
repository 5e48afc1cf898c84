"""An engine whose model runs in a process of its own: its passes never wait for the front's Python, nor it for them.

The front does not import torch. What a message costs more than with a thread is one copy over a socket pair
(docs/performance.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from agent_server.model.batcher import BatcherClosed
from agent_server.model.engine import Owner
from agent_server.model.framing import Unpacker, pack
from agent_server.model.jobs import ActJob, Reply
from agent_server.policies import Policy, PolicyCard
from codriver.errors import CodriverError, InternalError, InvalidArgumentError, error_class

_log = logging.getLogger(__name__)

_BUFFER_BYTES = 4 << 20


class ProcessEngine(asyncio.Protocol):
    """The front's side (an :class:`agent_server.model.engine.Engine`)."""

    def __init__(self, *, died: Callable[[str], None], max_waiting_rows: int = 8192, **settings: Any) -> None:
        """An engine whose process starts with the first :meth:`load`.

        Args:
            died: Called when the process ends unasked, with one line for people.
            max_waiting_rows: Kept by the intake.
            **settings: ``cap``, ``max_delay_s``, ``threads``, ``cores`` and ``runtime``, as
                :class:`agent_server.model.engine.ThreadEngine` takes them.
        """
        self._died, self._settings = died, settings
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._unpacker = Unpacker()
        self._jobs: dict[int, ActJob] = {}
        self._loads: dict[int, asyncio.Future[PolicyCard]] = {}
        self._rows = self._ids = self._handles = 0
        self._closing = False
        self._gone = asyncio.Event()

    @property
    def waiting_rows(self) -> int:
        """Rows that were submitted and are not yet answered."""
        return self._rows

    @property
    def pid(self) -> int | None:
        """Id of the model's process; None before it started."""
        return None if self._process is None else self._process.pid

    def submit(self, job: ActJob) -> None:
        """Queues a job."""
        if self._closing or self._transport is None:
            raise BatcherClosed("the server is stopping")
        self._ids += 1
        header = {
            "kind": "job",
            "id": self._ids,
            "model": job.model,
            "policy": job.policy,
            "env": list(job.env),
            "episode": list(job.episode),
            "step": list(job.step),
            "columns": [
                (len(column.data), None if column.sizes is None else list(column.sizes))
                for column in job.columns
            ],
            "received": job.received,
            "deadline": None if job.deadline == math.inf else job.deadline,
            "seed": job.seed,
            "sampled": [] if job.seed is None else list(job.sampled),
        }
        self._jobs[self._ids] = job
        self._rows += job.rows
        self._transport.write(pack(header, [column.data for column in job.columns]))

    def cancel(self, job: ActJob) -> None:
        """Cancels a job."""
        found = next((number for number, other in self._jobs.items() if other is job), None)
        if found is not None:
            self._forget(found)
            self._send({"kind": "cancel", "id": found})

    async def load(self, source: str | Policy) -> tuple[int, PolicyCard]:
        """Loads and warms up a policy directory in the model's process."""
        if not isinstance(source, str):
            raise InvalidArgumentError("a model in a process of its own loads directories only")
        if self._process is None:
            await self._start()
        if self._closing or self._gone.is_set():
            raise InternalError("the model's process is not running")
        self._handles += 1
        handle = self._handles
        answer = self._loads[handle] = asyncio.get_running_loop().create_future()
        self._send({"kind": "load", "handle": handle, "path": source})
        return handle, await answer

    def unload(self, handle: int) -> None:
        """Forgets a policy."""
        self._send({"kind": "unload", "handle": handle})

    async def close(self) -> None:
        """Runs what waits, hands it out, and ends the process."""
        self._closing = True
        if self._process is None or self._transport is None:
            return
        self._send({"kind": "close"})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._gone.wait(), 10.0)
        self._transport.close()
        try:
            await asyncio.to_thread(self._process.wait, 5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _start(self) -> None:
        front, model = socket.socketpair()
        for end in (front, model):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        with model:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "agent_server.model.process",
                    str(model.fileno()),
                    json.dumps(self._settings),
                ],
                pass_fds=[model.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # signals to the group are for the front, which ends this process in order
            )
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: self, sock=front)
        transport.set_write_buffer_limits(high=1 << 40)  # credits bound what can be waiting
        self._transport = transport

    def _send(self, header: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(pack(header))

    def _forget(self, number: int) -> ActJob | None:
        job = self._jobs.pop(number, None)
        if job is not None:
            self._rows -= job.rows
        return job

    def data_received(self, data: bytes) -> None:
        """Takes what the model's process sends (asyncio calls this)."""
        for header, blobs in self._unpacker.feed(data):
            kind = header["kind"]
            if kind == "replies":
                self._hand_out(header["replies"], blobs)
            elif kind == "started":
                for number in header["ids"]:
                    if number in self._jobs:
                        self._jobs[number].started = time.monotonic()
            elif kind == "loaded":
                self._loads.pop(header["handle"]).set_result(PolicyCard.from_json(header["card"]))
            elif kind == "refused":
                refusal = error_class(header["status_name"], header["reason"])
                error = refusal(
                    header["message"], reason=header["reason"], field=header["field"], hint=header["hint"]
                )
                self._loads.pop(header["handle"]).set_exception(error)

    def _hand_out(self, replies: list[tuple[int, int, int, str]], blobs: bytes) -> None:
        start = 0
        for number, errors, size, why in replies:
            job = self._forget(number)
            message = blobs[start : start + size]
            start += size
            if job is not None:
                owner: Owner = job.owner
                if why:
                    owner.model_answered(None, InternalError(why))
                else:
                    owner.model_answered(Reply(message, errors), None)

    def connection_lost(self, error: Exception | None) -> None:
        """The model's process is gone (asyncio calls this): every job that it had ends with an error."""
        self._gone.set()
        why = "the model's process ended"
        if not self._closing and self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            why += f" unasked, with status {self._process.returncode}"
        failure: CodriverError = InternalError(why)
        for answer in self._loads.values():
            if not answer.done():
                answer.set_exception(failure)
        for number in list(self._jobs):
            job = self._forget(number)
            if job is not None:
                job.owner.model_answered(None, failure)
        if not self._closing:
            self._closing = True
            self._died(why)
