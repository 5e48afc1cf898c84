"""A feedback link for programs without an event loop: ask, and wait for the answers."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Type

from codriver.coaching.link import FeedbackLink
from codriver.coaching.outcomes import Asked, unavailable
from codriver.errors import UnavailableError
from codriver.v1 import feedback_pb2, feedback_service_pb2

if TYPE_CHECKING:
    from types import TracebackType


class BlockingLink:
    """A :class:`codriver.coaching.link.FeedbackLink` on a thread of its own; a context manager. Any thread may use it.

    Args:
        address: Of the service: ``HOST:PORT`` or ``unix:PATH``.
        settings: As of :class:`codriver.coaching.link.FeedbackLink`.

    Raises:
        InvalidArgumentError: The address is none.
    """

    def __init__(self, address: str, **settings: Any) -> None:
        self._waiting: Dict[Asked, List[asyncio.Future[feedback_pb2.Feedback]]] = {}
        self._link = FeedbackLink(address, self._on_feedback, **settings)
        self._lock, self._closed = threading.Lock(), False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="feedback-link", daemon=True)
        self._thread.start()
        self._call(self._link.start())

    @property
    def connected(self) -> bool:
        """True while the service answers on a connection."""
        return self._link.connected

    @property
    def trouble(self) -> str:
        """Why nothing can be asked; see :attr:`codriver.coaching.link.FeedbackLink.trouble`."""
        return self._link.trouble

    def wait_connected(self, timeout_s: float) -> bool:
        """Waits until the service answers; False: it did not in time."""
        return bool(self._call(self._link.wait_connected(timeout_s)))

    def list_coaches(self, timeout_s: float = 5.0) -> feedback_service_pb2.ListCoachesResponse:
        """What the service has now; raises as :meth:`codriver.coaching.link.FeedbackLink.list_coaches`."""
        listed: feedback_service_pb2.ListCoachesResponse = self._call(self._link.list_coaches(timeout_s))
        return listed

    def ask_and_wait(
        self, requests: Sequence[feedback_service_pb2.AnnotationRequest], timeout_s: float | None = None
    ) -> List[feedback_pb2.Feedback]:
        """Asks and waits for every answer.

        Args:
            requests: What is asked, each (coach, key) once; they are the link's from now on.
            timeout_s: Longest wait. What is then unanswered is withdrawn and TIMED_OUT. None: as long as the requests'
                own timeouts, which always end.

        Returns:
            One answer for each request, in their order.

        Raises:
            UnavailableError: This link is closed.
        """
        answers: List[feedback_pb2.Feedback] = self._call(self._ask(list(requests), timeout_s))
        return answers

    def close(self) -> None:
        """Ends the link and its thread; who still waits gets RESTARTED. Safe to call twice."""
        with self._lock:  # what is called before is in the loop before
            if self._closed:
                return
            self._closed = True
            closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        closing.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> BlockingLink:
        return self

    def __exit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _ask(
        self, requests: List[feedback_service_pb2.AnnotationRequest], timeout_s: float | None
    ) -> List[feedback_pb2.Feedback]:
        loop = asyncio.get_event_loop()
        waiting: Dict[Asked, asyncio.Future[feedback_pb2.Feedback]] = {}
        for request in requests:
            asked = Asked.of(request.coach, request.key)
            waiting[asked] = loop.create_future()
            self._waiting.setdefault(asked, []).append(waiting[asked])
        self._link.ask(requests)
        if waiting:
            await asyncio.wait(list(waiting.values()), timeout=timeout_s)
        late = [asked for asked, future in waiting.items() if not future.done()]
        for asked in late:
            detail = f"no answer from {self._link.address} within {timeout_s:g} s"
            timed_out = unavailable(asked, feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT, detail)
            waiting[asked].set_result(timed_out)
        self._link.cancel(asked.key() for asked in late)
        return [waiting[Asked.of(request.coach, request.key)].result() for request in requests]

    def _on_feedback(self, feedback: feedback_pb2.Feedback) -> None:
        for future in self._waiting.pop(Asked.of(feedback.coach, feedback.key), ()):
            if not future.done():
                future.set_result(feedback)

    async def _close(self) -> None:
        """Ends the link, and lets those who wait for it have what they wait for."""
        await self._link.close()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        if waiting:
            await asyncio.wait(waiting, timeout=5.0)

    def _call(self, work: Any) -> Any:
        with self._lock:
            if self._closed:
                work.close()
                raise UnavailableError("the link is closed", reason="CLOSED")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result()
