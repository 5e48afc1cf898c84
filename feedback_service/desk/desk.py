"""The desk: all coaches, all streams, and the rule between them: every request gets exactly one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from codriver.v1 import feedback_pb2, feedback_service_pb2
from feedback_service.coaches.clip_reward import ClipRewardKind
from feedback_service.coaches.kind import CoachKind
from feedback_service.coaches.vlm_action import VlmActionKind
from feedback_service.desk.asker import Asker
from feedback_service.desk.check import wrong_field
from feedback_service.desk.coach import CoachDesk
from feedback_service.desk.metrics import Metrics, NoMetrics
from feedback_service.desk.row import RowKey
from feedback_service.desk.settings import CoachSettings, Limits
from feedback_service.desk.ways import Ways
from feedback_service.triton.client import TritonClient

_KINDS: dict[int, Callable[[], CoachKind]] = {
    feedback_pb2.FEEDBACK_KIND_VLM_ACTION: VlmActionKind,
    feedback_pb2.FEEDBACK_KIND_CLIP_REWARD: ClipRewardKind,
}
UNKNOWN_COACH = "unknown"
"""Stands in metrics for names that no coach has, which are whatever askers write."""


class Desk:
    """Takes requests for feedback and answers each of them exactly once.

    A coach answers MODEL_NOT_LOADED until :meth:`CoachDesk.switch` gives it a model. Everything happens on the event
    loop in which it is used; nothing but :meth:`close` waits.

    Args:
        coaches: The coaches; their names are unique.
        client: The way to Triton.
        limits: Limits; None: the defaults.
        metrics: Where to count; None: nowhere.

    Raises:
        ValueError: Two coaches have one name, or a kind is not served.
    """

    def __init__(
        self,
        coaches: Sequence[CoachSettings],
        client: TritonClient,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.metrics: Metrics = metrics or NoMetrics()
        self._ways = Ways(self.limits.environments_kept)
        self._closed = False
        pending: dict[str, int] = {}
        desks: dict[str, CoachDesk] = {}
        for settings in coaches:
            if settings.kind not in _KINDS:
                raise ValueError(f"coach {settings.name!r}: its kind is not served")
            if settings.name in desks:
                raise ValueError(f"there are two coaches {settings.name!r}")
            kind = _KINDS[settings.kind]()
            desks[settings.name] = CoachDesk(settings, kind, client, self.limits, self.metrics, pending)
        self.coaches: Mapping[str, CoachDesk] = MappingProxyType(desks)

    def coach(self, name: str) -> CoachDesk:
        """A coach by name.

        Raises:
            KeyError: There is none of that name.
        """
        return self.coaches[name]

    def open_stream(self, answer: Callable[[feedback_pb2.Feedback], None]) -> Asker:
        """A new asker.

        Args:
            answer: Receives its answers, one for each request, on the event loop; may be called inside ``ask``.
        """
        return Asker(self, answer)

    async def start(self) -> None:
        """Nothing so far: coaches get their models by :meth:`CoachDesk.switch`."""

    async def close(self) -> None:
        """Answers whatever is pending, and whatever is asked from now on, with RESTARTED."""
        self._closed = True
        # Together: each begins by answering its rows, before any waits for its calls to end.
        await asyncio.gather(*(coach.close() for coach in self.coaches.values()))

    # For askers.

    def label(self, coach: str) -> str:
        """A coach's name for metrics."""
        return coach if coach in self.coaches else UNKNOWN_COACH

    def credits(self, pending: int) -> int:
        """Requests that a stream may add.

        Args:
            pending: Unanswered ones of that stream.
        """
        rooms = [coach.room for coach in self.coaches.values()]
        return max(0, min(self.limits.max_pending_per_stream - pending, *rooms))

    def ask(self, asker: Asker, request: feedback_service_pb2.AnnotationRequest) -> None:
        """Takes in a request, or answers it at once."""
        if self._closed:
            asker.refuse(request, feedback_pb2.UNAVAILABLE_REASON_RESTARTED, "the service stops")
            return
        coach = self.coaches.get(request.coach)
        if coach is None:
            wrong: str | None = f"coach: there is no coach {request.coach[:64]!r}"
        else:
            wrong = wrong_field(request, coach.settings, self.limits.max_picture_bytes)
        if coach is None or wrong is not None:
            asker.refuse(request, feedback_pb2.UNAVAILABLE_REASON_INVALID_REQUEST, wrong or "")
            return
        if asker.pending > self.limits.max_pending_per_stream:
            detail = f"the stream has {self.limits.max_pending_per_stream} unanswered requests"
            asker.refuse(request, feedback_pb2.UNAVAILABLE_REASON_BACKLOG, detail)
            return
        key = RowKey.of(request.key)
        way, further = self._ways.reach(key)
        if further:
            self._drop_stale(key)
        coach.ask(asker, request, key, way)

    def progress(self, key: RowKey) -> None:
        """Hears how far an environment has come."""
        if self._ways.reach(key)[1]:
            self._drop_stale(key)

    def _drop_stale(self, key: RowKey) -> None:
        for coach in self.coaches.values():
            coach.drop_stale(key)
