"""A feedback service for the length of a command: a process of its own, watched until its coaches answer."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from codriver import connection
from codriver.coaching.source import FeedbackSource
from codriver.errors import CodriverError
from codriver.v1 import feedback_service_pb2, feedback_service_pb2_grpc
from sim_clients.drive.folder import command_folder
from sim_clients.drive.program import last_line, start_program, stop_program
from sim_clients.simulator import SimulatorError

LOOK_EVERY_S = 0.5
SAY_EVERY_S = 5.0
_STOP_TIMEOUT_S = 40.0
"""It stops a Triton with its models in good order."""
PATIENCE_S = 30.0
"""How long a service that is not ours, and its coaches, are waited for."""


class CoachService:
    """A feedback service, ours or somebody else's, and how its coaches are. Nothing is known before :meth:`watch`.

    Args:
        source: Where it listens, or will, and how to be let in.
        process: Its process, with its standard output as a pipe. None: it is not ours.
        errors: File that its standard error goes to.
        patience_s: For :meth:`wait`, where it is not ours.

    Raises:
        InvalidArgumentError: A file that lets us in cannot be used.

    Attributes:
        source: Where it listens, and how to be let in.
        address: Where it listens.
        joined: Coaches that answer, by name, with the seconds that it took them.
    """

    def __init__(
        self,
        source: FeedbackSource,
        process: subprocess.Popen[bytes] | None = None,
        errors: Path | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.source, self.address = source, source.address
        self._credentials, self._token = source.credentials(), source.reader()
        self.joined: dict[str, float] = {}
        self._process, self._errors = process, errors
        self._begin = time.monotonic()
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._away: dict[str, str] = {}
        self._settled = False
        self._heard = False
        self._said: dict[str, tuple[str, float]] = {}
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._look, name="coach-look", daemon=True)]
        if process is not None:
            self._threads.append(threading.Thread(target=self._read, name="coach-read", daemon=True))

    def watch(self) -> None:
        """Begins to look. gRPC dislikes processes that are forked from now on, so start servers before."""
        for thread in self._threads:
            thread.start()

    @property
    def all_ready(self) -> bool:
        """True once every coach answers."""
        with self._lock:
            return bool(self.joined) and not self._away

    @property
    def dead(self) -> bool:
        """True if it was ours and has ended."""
        return self._process is not None and self._process.poll() is not None

    def lines(self) -> list[str]:
        """Returns what there is to say to people since the last call."""
        with self._lock:
            lines, self._lines = self._lines, []
            return lines

    def trouble(self) -> str:
        """Returns why coaches do not answer, in one line; empty when all do."""
        if self.dead:
            said = last_line(self._errors) if self._errors is not None else ""
            return f"the feedback service has ended: {said or 'it said nothing'}"
        with self._lock:
            if not self._heard:
                return f"no feedback service answers at {self.address} yet"
            return "; ".join(f"{name}: {detail or 'not ready'}" for name, detail in self._away.items())

    def wait(self, coach: str | None = None) -> Iterator[str]:
        """Waits until it is known which coaches answer; yields lines for people meanwhile.

        Args:
            coach: Waits for this one alone. None: for all of them.

        Raises:
            SimulatorError: It does not answer, or none of them does.
        """

        def ready() -> bool:
            return self.all_ready if coach is None else coach in self.joined

        while not (ready() or self.dead or self._is_settled()):
            yield from self.lines()
            time.sleep(0.1)
        time.sleep(0.0 if ready() or self.dead else LOOK_EVERY_S)  # the list that belongs to it
        yield from self.lines()
        if not self.joined or not (coach is None or coach in self.joined):
            what = "no coach answers" if coach is None else f"the coach {coach!r} does not answer"
            raise SimulatorError(f"{what}: {self.trouble() or 'the service has none of that name'}")

    def close(self) -> None:
        """Ends it, if it is ours."""
        self._closing.set()
        if self._process is not None:
            stop_program(self._process, _STOP_TIMEOUT_S)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    def _is_settled(self) -> bool:
        """True when coaches that do not answer by now will not without somebody's help."""
        if self._process is None:
            return time.monotonic() - self._begin > self._patience_s
        return self._settled

    def _read(self) -> None:
        """Reads the service's own words until it ends: "COACHES" says that each of them is up or has failed."""
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"COACHES "):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    coaches = json.loads(line[len(b"COACHES ") :])["coaches"]
                    self._note(
                        {str(c["coach"]): "" if c["ready"] else str(c["detail"]) or " " for c in coaches}
                    )
                self._settled = True

    def _look(self) -> None:
        options = connection.channel_options(self.address)
        address = connection.target(self.address)
        with (
            grpc.insecure_channel(address, options)
            if self._credentials is None
            else grpc.secure_channel(address, self._credentials, options)
        ) as channel:
            stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
            while not self._closing.is_set():
                try:
                    token = connection.metadata(None if self._token is None else self._token())
                    found = stub.ListCoaches(
                        feedback_service_pb2.ListCoachesRequest(), timeout=5.0, metadata=token
                    )
                except (grpc.RpcError, CodriverError):
                    if self.dead and not self._closing.is_set():
                        with self._lock:
                            self.joined.clear()
                        self._say("", self.trouble())
                        return
                else:
                    self._note(
                        {info.coach: "" if info.ready else info.detail or " " for info in found.coaches}
                    )
                self._closing.wait(LOOK_EVERY_S)

    def _note(self, coaches: dict[str, str]) -> None:
        """Notes how coaches are: empty for one that answers, else why it does not."""
        seconds = time.monotonic() - self._begin
        with self._lock:
            self._heard = True
            new = [name for name, detail in coaches.items() if not detail and name not in self.joined]
            gone = [name for name, detail in coaches.items() if detail and name in self.joined]
            self.joined.update(dict.fromkeys(new, seconds))
            for name in gone:
                del self.joined[name]
            self._away = {name: detail.strip() for name, detail in coaches.items() if detail}
        if new:
            have = "have" if len(new) > 1 else "has"
            self._say("", f"{' and '.join(sorted(new))} {have} joined after {seconds:.0f} s")
        together = set(self._away.values())
        if len(together) == 1 and len(self._away) > 1:
            self._say("", together.pop())
        else:
            for name, detail in self._away.items():
                self._say(name, f"{name}: {detail}" if detail else "")

    def _say(self, about: str, line: str) -> None:
        """Keeps a line for people; one that differs in numbers alone only now and then."""
        if not line:
            return
        now = time.monotonic()
        bare = re.sub(r"[\d.,]+", "#", line)
        with self._lock:
            said, when = self._said.get(about, ("", 0.0))
            if said == line or (re.sub(r"[\d.,]+", "#", said) == bare and now - when < SAY_EVERY_S):
                return
            self._said[about] = line, now
            self._lines.append(line)


@contextlib.contextmanager
def coach_service(source: FeedbackSource | None = None) -> Iterator[CoachService]:
    """Watches a feedback service; where none is named, starts ``codriver feedback`` with a Triton of its own.

    It returns at once: coaches need seconds to come up, and minutes the first time, when their environment is made.
    """
    if source is not None:
        service = CoachService(source)
        try:
            yield service
        finally:
            service.close()
        return
    with command_folder() as folder:
        errors = folder / "stderr.log"
        address = f"unix:{folder}/feedback.sock"
        command = ["feedback", "--triton", "embedded", "--listen", address, "--admin-listen", "off"]
        with errors.open("wb") as log:
            process = start_program(command, log, output=subprocess.PIPE)
        service = CoachService(FeedbackSource(address), process, errors)
        try:
            yield service
        finally:
            service.close()
