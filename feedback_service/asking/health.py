"""Whether one model is worth calling, from its calls and, once it is known to be down, from probes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from feedback_service.asking.breaker import Breaker, BreakerState
from feedback_service.asking.latency import Latency
from feedback_service.desk.metrics import Metrics
from feedback_service.desk.settings import CoachSettings, Limits, Route
from feedback_service.triton.client import TritonClient

_LOG = logging.getLogger(__name__)
_READY_TIMEOUT_S = 5.0
_MUCH_LONGER = 3.0


class ModelHealth:
    """The breaker of the model behind a coach, and the task that probes it while it is open.

    Args:
        route: The model.
        settings: The coach.
        client: The way to Triton.
        limits: Limits of the desk.
        metrics: Where to count.
        opened: Called with one line whenever the model is found to be down.
        usable: Called when rows may be called again.

    Attributes:
        route: The model, with the version that answered last.
        latency: How long it takes.
    """

    def __init__(
        self,
        route: Route,
        settings: CoachSettings,
        client: TritonClient,
        limits: Limits,
        metrics: Metrics,
        opened: Callable[[str], None],
        usable: Callable[[], None],
    ) -> None:
        self.route = route
        self.latency = Latency()
        self._coach = settings.name
        self._client = client
        self._metrics = metrics
        self._opened = opened
        self._usable = usable
        self._breaker = Breaker(
            limits.breaker_failures, limits.breaker_pause_s, limits.breaker_longest_pause_s
        )
        self._told = BreakerState.CLOSED
        self._prober: asyncio.Task[None] | None = None
        self._retired = False
        self._coach_timeout_s = settings.timeout_ms / 1000

    @property
    def state(self) -> BreakerState:
        """State of the breaker."""
        return self._breaker.state

    @property
    def down_detail(self) -> str | None:
        """Why no row is called; None: rows are."""
        if self._breaker.state is not BreakerState.OPEN:
            return None
        return f"{self.route.model_id} is known to be down: {self._breaker.detail}"

    def retire(self) -> None:
        """The coach has another model now: what this one does is of no interest any more."""
        self._retired = True
        self._stop_probing()

    def succeeded(self, elapsed_s: float, now: float) -> None:
        """A call was answered after that time."""
        self.latency.answered(elapsed_s, now)
        if not self._retired:
            self._breaker.succeeded()
            self._tell()

    def failed(self, detail: str, certain: bool = False) -> None:
        """A call failed.

        Args:
            detail: Why.
            certain: The model is surely down; one such failure is enough.
        """
        if self._retired or not self._breaker.failed(detail, certain):
            return
        _LOG.warning("coach %s: its model is down: %s", self._coach, detail)
        self.latency.forget()
        self._tell()
        self._start_probing(at_once=False)
        self._opened(detail)

    def silent(self, elapsed_s: float, now: float) -> None:
        """A call was given up after that time.

        Timeouts that clients choose say little of the model. One that is silent for half of the coach's own, and for
        much longer than it took lately, has failed.
        """
        enough_s = max(self._coach_timeout_s / 2, _MUCH_LONGER * self.latency.answered_s)
        self.latency.unanswered(elapsed_s, now)
        if elapsed_s >= enough_s:
            self.failed(f"no answer within {enough_s:.3g} s")

    def probe(self) -> None:
        """Probes at once, if it is down."""
        if self._breaker.state is BreakerState.OPEN:
            self._start_probing(at_once=True)

    def _tell(self) -> None:
        if self._breaker.state is not self._told:
            self._told = self._breaker.state
            self._metrics.breaker_changed(self._coach, self._told.value)

    def _start_probing(self, at_once: bool) -> None:
        self._stop_probing()
        self._prober = asyncio.get_running_loop().create_task(self._probe(at_once))

    def _stop_probing(self) -> None:
        if self._prober is not None:
            self._prober.cancel()
            self._prober = None

    async def _probe(self, at_once: bool) -> None:
        while self._breaker.state is BreakerState.OPEN:
            if not at_once:
                await asyncio.sleep(self._breaker.next_pause_s())
            at_once = False
            try:
                ready = await self._client.model_ready(self.route.model, _READY_TIMEOUT_S)
            except Exception:  # noqa: BLE001 - without its prober, a model would count as down for ever
                _LOG.exception("coach %s: its model could not be probed", self._coach)
                ready = False
            self._breaker.probed(ready)
            self._tell()
        self._usable()
