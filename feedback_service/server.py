"""The feedback service put together: desk, Triton and models, listeners, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from codriver.errors import InvalidArgumentError, UnavailableError
from codriver.serving.listen import listen
from codriver.serving.tokens import Role
from codriver.v1 import feedback_service_pb2
from feedback_service.backing import Backing
from feedback_service.config import Options
from feedback_service.desk.desk import Desk
from feedback_service.metrics import MetricsServer, PrometheusMetrics
from feedback_service.registry.service_file import ServiceFacts, remove_service_file, write_service_file
from feedback_service.service import admin, annotate
from feedback_service.triton.late_client import LateTritonClient

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Reading one must not keep the event loop from the others."""
NEEDS = {
    f"/{annotate.SERVICE_NAME}/ListCoaches": Role.READ,
    f"/{annotate.SERVICE_NAME}/Annotate": Role.DRIVE,
    f"/{admin.SERVICE_NAME}/ListModels": Role.READ,
}
"""The role that each method needs, where tokens are asked for; all others need ``Role.ADMIN``."""
_LOOK_S = 0.2
_LAST_ANSWERS_S = 2.0
_LIVE_S = 5.0


class FeedbackServer:
    """One feedback service. Use :meth:`start`, then :meth:`wait`, and :meth:`stop` from the same loop.

    Attributes:
        addresses: Where FeedbackService is served.
        admin_address: Where FeedbackAdminService is served. Empty: nowhere.
        metrics_address: Where Prometheus reads. Empty: nowhere.
        instance_id: Random id of this service.
    """

    def __init__(self, options: Options) -> None:
        """A service that is not yet listening. Must be created on its event loop."""
        self.options = options
        self.addresses: list[str] = []
        self.admin_address = self.metrics_address = ""
        self.instance_id = secrets.token_hex(8)
        self._metrics = PrometheusMetrics()
        self._client = LateTritonClient()
        self.desk = Desk(
            [choice.settings for choice in options.coaches],
            self._client,
            options.limits,
            self._metrics,
        )
        self._backing = Backing(options, self.desk, self._client)
        self._metrics.on_call = self._backing.call_ended
        self._service = annotate.FeedbackService(self.desk, self.instance_id)
        self._health = HealthServicer()
        self._servers: list[grpc.aio.Server] = []
        self._metrics_server: MetricsServer | None = None
        self._bringing_up: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Begins to serve, at once; the coaches get their models meanwhile, see :meth:`settled`.

        Raises:
            CodriverError: An address cannot be taken, or a file of the protection not be used.
        """
        options = self.options
        plain = options.protection.allow_plaintext
        try:
            credentials = options.protection.credentials()
            interceptors: Any = options.protection.interceptors(NEEDS)
            server = self._new_server(interceptors)
            server.add_generic_rpc_handlers((self._service.handler(),))
            self.addresses = [
                listen(server, address, credentials=credentials, allow_plaintext=plain)
                for address in options.listen
            ]
            if options.admin_listen is not None:
                admin_server = self._new_server(interceptors)
                service = admin.FeedbackAdminService(self._backing.switch)
                admin_server.add_generic_rpc_handlers((service.handler(),))
                self.admin_address = listen(
                    admin_server, options.admin_listen, credentials=credentials, allow_plaintext=plain
                )
            if options.metrics_listen is not None:
                self._metrics_server = MetricsServer(options.metrics_listen, self._metrics, plain)
                self.metrics_address = self._metrics_server.address
            tls = credentials is not None and not self.admin_address.startswith("unix:")
            self._announce(tls)
            await self.desk.start()
        except BaseException:
            await self._end_listeners(0)
            await self._client.close()
            raise
        for grpc_server in self._servers:
            await grpc_server.start()
        for name in ("", annotate.SERVICE_NAME, admin.SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._looking = asyncio.create_task(self._look())
        self._bringing_up = asyncio.create_task(self._backing.run())

    async def settled(self, limit_s: float | None = None) -> bool:
        """Waits until every coach has its model, or a reason why not; or until so many seconds are over.

        Returns:
            Whether they have.
        """
        assert self._bringing_up is not None
        await asyncio.wait({self._bringing_up}, timeout=limit_s)
        return self._bringing_up.done()

    async def triton_live(self) -> bool:
        """Whether Triton answers."""
        return await self._client.live(_LIVE_S)

    def coaches(self) -> list[feedback_service_pb2.CoachInfo]:
        """How the coaches stand, by name."""
        return [coach.info() for _, coach in sorted(self.desk.coaches.items())]

    @property
    def stopping(self) -> bool:
        """True after :meth:`stop`."""
        return self._stopping is not None

    @property
    def triton_address(self) -> str:
        """Where Triton speaks gRPC. Empty: it does not run yet."""
        return self._backing.triton_address

    async def wait(self) -> None:
        """Returns when the service has stopped."""
        await self._stopped.wait()

    def stop(self) -> None:
        """Begins to stop: everything pending is answered, streams end as UNAVAILABLE, Triton ends."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        try:
            await self._health.enter_graceful_shutdown()
            error = UnavailableError(
                "the feedback service stops", reason="DRAINED", hint="Connect again.", retry_after_s=2.0
            )
            self._service.end_streams(error)
            await self.desk.close()
            await self._service.gone(_LAST_ANSWERS_S)
            await self._end_listeners(0.5)
            for task in (self._bringing_up, self._looking):
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            await self._backing.close()
        finally:
            remove_service_file(self.options.store, os.getpid())
            self._stopped.set()

    def _announce(self, tls: bool) -> None:
        """Lets `codriver models` find this service beside its store."""
        if self.admin_address:
            try:
                write_service_file(self.options.store, ServiceFacts(self.admin_address, os.getpid(), tls))
            except OSError as error:
                raise InvalidArgumentError(
                    f"cannot write to {self.options.store}: {error.strerror or error}", field="store"
                ) from None

    async def _end_listeners(self, grace_s: float) -> None:
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))
        if self._metrics_server is not None:
            await asyncio.to_thread(self._metrics_server.close)

    async def _look(self) -> None:
        """Keeps health and metrics as the coaches are."""
        states = health_pb2.HealthCheckResponse
        known: dict[str, bool] = {}
        while True:
            found = {info.coach: info for info in self.coaches()}
            self._metrics.looked_at(found, self._service.streams)
            for name, info in found.items():
                if known.get(name) is not info.ready:
                    known[name] = info.ready
                    await self._health.set(name, states.SERVING if info.ready else states.NOT_SERVING)
                    why = f": {info.detail}" if info.detail else ""
                    _log.info("coach %s is %s%s", name, "ready" if info.ready else "not ready", why)
            await asyncio.sleep(_LOOK_S)

    def _new_server(self, interceptors: Any) -> grpc.aio.Server:
        settings: list[tuple[str, Any]] = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]
        server = grpc.aio.server(interceptors=interceptors, options=settings)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self._servers.append(server)
        return server
