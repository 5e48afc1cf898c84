"""The agent server put together: policies, sessions, engine, listeners, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from agent_server.feedback.coaching import Coaching
from agent_server.limits import Limits
from agent_server.policies import Policy
from agent_server.policy_store import LoadedPolicy, PolicyStore
from agent_server.service import admin, agent
from agent_server.sessions.intake import Intake
from agent_server.sessions.registry import SessionRegistry
from codriver.coaching.source import FeedbackSource
from codriver.errors import CodriverError, UnavailableError
from codriver.serving.listen import listen
from codriver.serving.protection import Protection
from codriver.serving.tokens import Role
from codriver.v1 import agent_service_pb2 as pb

if TYPE_CHECKING:
    from agent_server.model.engine import Engine

_log = logging.getLogger(__name__)

NEEDS = {
    f"/{agent.SERVICE_NAME}/GetServerInfo": Role.READ,
    **{
        f"/{agent.SERVICE_NAME}/{name}": Role.DRIVE
        for name in ("OpenSession", "Drive", "Act", "CloseSession")
    },
    f"/{admin.SERVICE_NAME}/ListPolicies": Role.READ,
}
"""The role that each method needs, where tokens are asked for; all others need ``Role.ADMIN``."""


@dataclass(frozen=True)
class Options:
    """How a server is set up.

    Attributes:
        listen: Addresses of AgentService: ``HOST:PORT`` or ``unix:PATH``.
        admin_listen: Address of PolicyAdminService; None: it is not served.
        protection: Who may call: TLS and tokens.
        feedback: The feedback service; None: there is none, and no coach is granted.
        reflection: True: serve the reflection service.
        batch_cap: Most rows in a pass.
        max_delay_ms: Longest wait for a fuller pass.
        model: Where it runs: on a ``thread`` of this process, or in a ``process`` of its own.
        threads: Threads of the model; None: as torch is set.
        runtime: How policies run: ``torch-fp32`` or ``torch-bf16``.
        model_cores: Cores that the model's thread keeps to. Empty: any.
        limits: What is allowed.
    """

    listen: tuple[str, ...] = ("127.0.0.1:50051",)
    admin_listen: str | None = None
    protection: Protection = Protection()  # noqa: RUF009 - immutable
    feedback: FeedbackSource | None = None
    reflection: bool = False
    batch_cap: int = 16
    max_delay_ms: float = 0.0
    model: str = "thread"
    threads: int | None = None
    runtime: str = "torch-fp32"
    model_cores: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)


class AgentServer:
    """One agent server. Use :meth:`start`, then :meth:`wait`, and :meth:`drain` or :meth:`stop` from the same loop."""

    def __init__(self, policies: Sequence[str | Policy], options: Options) -> None:
        """A server that is not yet listening. Must be created on its event loop.

        Args:
            policies: At least one directory (or, for a server on a thread, a policy); the first is the default.
            options: How it is set up.

        Raises:
            ValueError: There is no policy.
            InvalidArgumentError: The feedback service's address or files cannot be used.
        """
        if not policies:
            raise ValueError("a server needs at least one policy")
        self.options = options
        self.addresses: list[str] = []
        self.admin_address = ""
        self.store = PolicyStore()
        self.coaching = None if options.feedback is None else Coaching(options.feedback)
        self._sources = list(policies)
        self._engine = _engine(options, self._model_died)
        closed = None if self.coaching is None else self.coaching.forget
        self._registry = SessionRegistry(options.limits, closed)
        intake = Intake(self.store, self._engine, options.limits, asyncio.get_running_loop())
        self._agent = agent.AgentService(
            self.store, self._registry, intake, options.limits, secrets.token_hex(8), self.coaching
        )
        self._health = HealthServicer()
        self._servers: list[grpc.aio.Server] = []
        self._interceptors: list[Any] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._loading = asyncio.Lock()
        self._hurry = False
        self.failed = ""
        """Why the server ended by itself. Empty: it did not."""

    async def start(self) -> None:
        """Loads the policies and begins to serve; ``addresses`` then says where.

        Raises:
            CodriverError: A policy cannot be loaded, or an address cannot be taken.
        """
        options, health = self.options, self._health
        try:
            credentials = options.protection.credentials()
            self._interceptors = options.protection.interceptors(NEEDS)
            for source in self._sources:
                await self.load(source)
            server = self._new_server([agent.SERVICE_NAME])
            server.add_generic_rpc_handlers((self._agent.handler(),))
            plain = options.protection.allow_plaintext
            self.addresses = [
                listen(server, address, credentials=credentials, allow_plaintext=plain)
                for address in options.listen
            ]
            if options.admin_listen is not None:
                service = admin.PolicyAdminService(self.load, self.store, self.drain)
                admin_server = self._new_server([admin.SERVICE_NAME])
                admin_server.add_generic_rpc_handlers((service.handler(),))
                self.admin_address = listen(
                    admin_server, options.admin_listen, credentials=credentials, allow_plaintext=plain
                )
        except BaseException:
            await self._engine.close()
            raise
        if self.coaching is not None:
            await self.coaching.start()
        for grpc_server in self._servers:
            await grpc_server.start()
        for name in ("", agent.SERVICE_NAME, admin.SERVICE_NAME):
            await health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._sweeper = asyncio.create_task(self._sweep())

    async def load(self, source: str | Policy, policy_id: str = "") -> LoadedPolicy:
        """Loads and warms up a policy while the old ones serve, then makes it current between two passes.

        Raises:
            CodriverError: It cannot be used; the old one goes on.
        """
        async with self._loading:  # one at a time: loading takes memory and a core
            handle, card = await self._engine.load(source)
            try:
                loaded, dropped = self.store.add(card, handle, policy_id)
            except CodriverError:
                self._engine.unload(handle)
                raise
        for old in dropped:
            self._engine.unload(old.handle)
        return loaded

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        await self._stopped.wait()

    def drain(self, grace_s: float | None = None, reason: str = "") -> int:
        """Announces the end: no new sessions, a Drain message on every stream, then :meth:`stop`.

        Args:
            grace_s: Longest time that attached clients get; None: the default.
            reason: One line for people.

        Returns:
            The number of attached streams.
        """
        if self._stopping is None:
            grace_s = self.options.limits.drain_grace_s if grace_s is None else grace_s
            self._agent.draining = reason or "it was asked to"
            notice = pb.DriveResponse(drain=pb.Drain(grace_ms=int(grace_s * 1e3), reason=reason))
            for stream in self._agent.streams:
                stream.send(notice.SerializeToString())
            self._stopping = asyncio.create_task(self._drain(grace_s))
        return len(self._agent.streams)

    async def stop(self) -> None:
        """Stops now: what is in flight is answered, open feedback ends as RESTARTED, streams end with UNAVAILABLE."""
        self._agent.draining = self._agent.draining or "it was asked to"
        if self.coaching is not None:
            await self.coaching.close()
        for stream in list(self._agent.streams):
            stream.end(UnavailableError("the server has stopped", reason="DRAINED", retry_after_s=2.0))
        deadline = time.monotonic() + 2.0
        while self._agent.streams and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*(server.stop(0.5) for server in self._servers))
        await self._engine.close()
        self._stopped.set()

    @property
    def draining(self) -> bool:
        """True after :meth:`drain`."""
        return self._stopping is not None

    @property
    def model_pid(self) -> int:
        """Id of the process that the model runs in."""
        return getattr(self._engine, "pid", None) or os.getpid()

    def stop_now(self) -> None:
        """Ends the grace of :meth:`drain`."""
        self._hurry = True

    def _model_died(self, why: str) -> None:
        self.failed = why
        _log.error("%s", why)
        self.drain(0.0, why)

    async def _drain(self, grace_s: float) -> None:
        await self._health.enter_graceful_shutdown()
        deadline = time.monotonic() + grace_s
        while self._agent.streams and time.monotonic() < deadline and not self._hurry:
            await asyncio.sleep(0.02)
        await self.stop()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(5.0, self.options.limits.idle_timeout_s / 4))
            self._registry.sweep()

    def _new_server(self, names: list[str]) -> grpc.aio.Server:
        limit = self.options.limits.max_message_bytes
        settings: list[tuple[str, Any]] = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]
        server = grpc.aio.server(interceptors=self._interceptors, options=settings)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self.options.reflection:
            from grpc_reflection.v1alpha import reflection

            reflection.enable_server_reflection(
                [*names, "grpc.health.v1.Health", reflection.SERVICE_NAME], server
            )
        self._servers.append(server)
        return server


def _engine(options: Options, died: Callable[[str], None]) -> Engine:
    settings: dict[str, Any] = {
        "cap": options.batch_cap,
        "max_delay_s": options.max_delay_ms / 1e3,
        "max_waiting_rows": options.limits.max_waiting_rows,
        "threads": options.threads,
        "cores": options.model_cores,
        "runtime": options.runtime,
    }
    if options.model == "thread":
        from agent_server.model.engine import ThreadEngine

        engine: Engine = ThreadEngine(**settings)
    else:
        from agent_server.model.process_engine import ProcessEngine

        engine = ProcessEngine(died=died, **settings)
    return engine
