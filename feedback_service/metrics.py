"""What Prometheus reads of a feedback service, over HTTP on a listener of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from codriver.errors import AlreadyExistsError
from codriver.serving.listen import host_and_port
from codriver.v1 import feedback_service_pb2

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64)
_BREAKER = ("closed", "half_open", "open")


@dataclass
class _Coach:
    """The series of one coach; looking them up by label costs more than counting."""

    asked: Any
    waited: Any
    queued: Any
    in_flight: Any
    rows: Any
    retried: Any
    answered: dict[tuple[str, bool], Any] = field(default_factory=dict)
    called: dict[str, Any] = field(default_factory=dict)


class PrometheusMetrics:
    """A :class:`feedback_service.desk.metrics.Metrics` that Prometheus can read.

    Attributes:
        on_call: Told the coach and the result of every call that ends; None: nobody.
    """

    def __init__(self) -> None:
        """Metrics of one service, in a registry of their own."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which nobody reads
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        name = "codriver_feedback"
        self._asked = Counter(f"{name}_requests", "Requests that came in.", ["coach"], registry=registry)
        self._answered = Counter(
            f"{name}_answers",
            "Requests that were answered: with a value, or with the reason why there is none.",
            ["coach", "outcome", "cached"],
            registry=registry,
        )
        self._waited = Histogram(
            f"{name}_queue_seconds",
            "Time of a row in the queue.",
            ["coach"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._queued = Gauge(
            f"{name}_queued_rows", "Rows that wait for a call.", ["coach"], registry=registry
        )
        self._in_flight = Gauge(f"{name}_rows_in_calls", "Rows in calls.", ["coach"], registry=registry)
        self._called = Histogram(
            f"{name}_call_seconds",
            "Time of a call to Triton, by how it ended.",
            ["coach", "result"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            f"{name}_call_rows", "Rows of a call.", ["coach"], buckets=_ROWS, registry=registry
        )
        self._retried = Counter(
            f"{name}_retried_rows", "Rows that went into another call.", ["coach"], registry=registry
        )
        self._breaker = Gauge(
            f"{name}_breaker",
            "1 for the state that the breaker is in.",
            ["coach", "state"],
            registry=registry,
        )
        self._ready = Gauge(
            f"{name}_coach_ready",
            "1 when a coach answers with values; the labels name its model.",
            ["coach", "model_id", "model_version"],
            registry=registry,
        )
        self._streams = Gauge(f"{name}_streams", "Annotate streams that are open.", registry=registry)
        self.on_call: Callable[[str, str], None] | None = None
        self._coaches: dict[str, _Coach] = {}
        self._models: dict[str, tuple[str, str, str]] = {}

    def asked(self, coach: str) -> None:
        """A request came in."""
        self._of(coach).asked.inc()

    def answered(self, coach: str, outcome: str, cached: bool) -> None:
        """A request was answered."""
        series = self._of(coach).answered
        if (outcome, cached) not in series:
            series[outcome, cached] = self._answered.labels(coach, outcome, str(cached).lower())
        series[outcome, cached].inc()

    def waited(self, coach: str, seconds: float) -> None:
        """A row left the queue for a call after that time."""
        self._of(coach).waited.observe(seconds)

    def queue_changed(self, coach: str, queued: int, in_flight: int) -> None:
        """Rows that wait for a call, and rows in calls, are this many now."""
        series = self._of(coach)
        series.queued.set(queued)
        series.in_flight.set(in_flight)

    def called(self, coach: str, rows: int, seconds: float, result: str) -> None:
        """A call of the model ended."""
        series = self._of(coach)
        series.rows.observe(rows)
        if result not in series.called:
            series.called[result] = self._called.labels(coach, result)
        series.called[result].observe(seconds)
        if self.on_call is not None:
            self.on_call(coach, result)

    def retried(self, coach: str, rows: int) -> None:
        """Rows go into another call because theirs failed."""
        self._of(coach).retried.inc(rows)

    def breaker_changed(self, coach: str, state: str) -> None:
        """The coach's breaker is in another state now."""
        for known in _BREAKER:
            self._breaker.labels(coach, known).set(known == state)

    def looked_at(self, coaches: Mapping[str, feedback_service_pb2.CoachInfo], streams: int) -> None:
        """How the coaches stand, and how many streams are open."""
        for name, info in coaches.items():
            labels = (name, info.model_id, info.model_version)
            before = self._models.get(name, labels)
            if before != labels:
                self._ready.remove(*before)
            self._models[name] = labels
            self._ready.labels(*labels).set(info.ready)
        self._streams.set(streams)

    def _of(self, coach: str) -> _Coach:
        found = self._coaches.get(coach)
        if found is None:
            found = self._coaches[coach] = _Coach(
                asked=self._asked.labels(coach),
                waited=self._waited.labels(coach),
                queued=self._queued.labels(coach),
                in_flight=self._in_flight.labels(coach),
                rows=self._rows.labels(coach),
                retried=self._retried.labels(coach),
            )
        return found


class MetricsServer:
    """Answers ``GET /metrics`` on a thread of its own.

    Args:
        address: ``HOST:PORT``; port 0 takes a free one.
        metrics: What it answers.
        anywhere: True: other machines may read it, unencrypted.

    Attributes:
        address: Where it listens.

    Raises:
        InvalidArgumentError: The address is none, or others can reach it.
        AlreadyExistsError: It is taken.
    """

    def __init__(self, address: str, metrics: PrometheusMetrics, anywhere: bool = False) -> None:
        host, port = host_and_port(address, anywhere)
        try:
            self._server, self._thread = start_http_server(port, host.strip("[]"), metrics.registry)
        except OSError as error:
            raise AlreadyExistsError(
                f"cannot serve metrics on {address}: {error.strerror or error}",
                reason="ADDRESS_IN_USE",
                field="metrics_listen",
            ) from None
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
