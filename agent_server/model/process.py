"""The model's process: jobs in over a socket, batched passes, replies out. Started by ``process_engine``."""

from __future__ import annotations

import json
import logging
import math
import socket
import sys
import threading
from typing import Any

from agent_server.model.batcher import Batcher, BatcherClosed, Finished, Part
from agent_server.model.framing import pack, receive
from agent_server.model.jobs import ActJob, Column, PolicyKey, Reply
from agent_server.model.loading import load_warm
from agent_server.model.runner import Runner
from agent_server.policies import Policy
from codriver.errors import CodriverError, InternalError

_log = logging.getLogger(__name__)


class ModelProcess:
    """The child's side. The main thread reads, the batcher's thread computes and writes."""

    def __init__(self, sock: socket.socket, settings: dict[str, Any]) -> None:
        """Starts the model's thread.

        Args:
            sock: Connection to the front, blocking.
            settings: As :class:`agent_server.model.process_engine.ProcessEngine` takes them.
        """
        self._sock, self._settings = sock, settings
        self._sending = threading.Lock()
        self._models: dict[int, Policy] = {}
        self._jobs: dict[int, ActJob] = {}
        self._runner = Runner(self._models, settings["threads"], settings["cores"])
        self._batcher: Batcher[ActJob] = Batcher(
            self._run,
            self._deliver,
            cap=settings["cap"],
            max_delay_s=settings["max_delay_s"],
            max_waiting_rows=1 << 30,  # the front keeps the bound
        )

    def serve(self) -> None:
        """Takes orders until the front closes or goes away."""
        while (frame := receive(self._sock)) is not None:
            header, blobs = frame
            kind = header["kind"]
            if kind == "job":
                self._take_job(header, blobs)
            elif kind == "cancel":
                job = self._jobs.pop(header["id"], None)
                if job is not None:
                    job.cancelled = True
            elif kind == "load":
                threading.Thread(target=self._load, args=(header["handle"], header["path"])).start()
            elif kind == "unload":
                self._models.pop(header["handle"], None)
            elif kind == "close":
                break
        self._batcher.close(finish=frame is not None)

    def _take_job(self, header: dict[str, Any], blobs: memoryview) -> None:
        columns, start = [], 0
        for size, sizes in header["columns"]:
            columns.append(Column(blobs[start : start + size], sizes))
            start += size
        job = ActJob(
            model=header["model"],
            policy=PolicyKey(*header["policy"]),
            rows=len(header["env"]),
            env=header["env"],
            episode=header["episode"],
            step=header["step"],
            columns=columns,
            received=header["received"],
            deadline=math.inf if header["deadline"] is None else header["deadline"],
            seed=header["seed"],
            sampled=header["sampled"],
            owner=header["id"],
        )
        self._jobs[header["id"]] = job
        try:
            self._batcher.submit(job)
        except BatcherClosed as error:
            self._deliver([Finished(job, None, error)])

    def _run(self, parts: list[Part[ActJob]]) -> list[Reply | None]:
        late = [part.job.owner for part in parts if not part.job.started and part.job.deadline < math.inf]
        if late:  # for the message of a deadline that passes during the forward pass
            self._send({"kind": "started", "ids": late})
        return self._runner(parts)

    def _deliver(self, finished: list[Finished[ActJob]]) -> None:
        replies, blobs = [], []
        for done in finished:
            self._jobs.pop(done.job.owner, None)
            if done.reply is None:
                replies.append([done.job.owner, 0, 0, f"{type(done.error).__name__}: {done.error}"])
            else:
                replies.append([done.job.owner, done.reply.errors, len(done.reply.message), ""])
                blobs.append(done.reply.message)
        self._send({"kind": "replies", "replies": replies}, blobs)

    def _load(self, handle: int, path: str) -> None:
        settings = self._settings
        try:
            policy = load_warm(path, settings["cap"], settings["runtime"], settings["threads"])
        except Exception as error:  # noqa: BLE001 - becomes the caller's error
            if not isinstance(error, CodriverError):
                _log.exception("loading %s failed", path)
                error = InternalError(f"loading {path} failed: {type(error).__name__}: {error}")
            names = ("status_name", "message", "reason", "field", "hint")
            self._send(
                {"kind": "refused", "handle": handle, **{name: getattr(error, name) for name in names}}
            )
            return
        self._models[handle] = policy
        self._send({"kind": "loaded", "handle": handle, "card": policy.card.to_json()})

    def _send(self, header: dict[str, Any], blobs: list[bytes] | None = None) -> None:
        frame = pack(header, blobs or ())
        with self._sending:
            try:
                self._sock.sendall(frame)
            except OSError:
                _log.warning("the front is gone")


def main() -> None:
    """Serves the socket whose descriptor is the first argument, with the settings of the second, as JSON."""
    logging.basicConfig(format="%(asctime)s %(levelname)s model process: %(message)s")
    sys.setswitchinterval(1e-4)
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        ModelProcess(sock, json.loads(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
