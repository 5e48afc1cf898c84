"""FeedbackService: which coaches there are, and Annotate streams over the desk."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from codriver.errors import CodriverError, ResourceExhaustedError
from codriver.serving.status import Context, Handler, abort, answered, unary_handlers
from codriver.v1 import feedback_service_pb2 as pb
from feedback_service.desk.desk import Desk
from feedback_service.service.annotate_stream import AnnotateStream

SERVICE_NAME = "codriver.v1.FeedbackService"


class FeedbackService:
    """The servicer. Belongs to the event loop."""

    def __init__(self, desk: Desk, instance_id: str) -> None:
        """A service over a desk.

        Args:
            desk: Answers the requests.
            instance_id: Random id of this process.
        """
        self._desk, self._instance_id = desk, instance_id
        self._streams: dict[AnnotateStream, None] = {}
        self._stopping: CodriverError | None = None

    def handler(self) -> Handler:
        """The service for a gRPC server."""
        annotate: Any = grpc.stream_stream_rpc_method_handler(self.annotate)
        return unary_handlers(
            SERVICE_NAME, {"ListCoaches": (self.list_coaches, pb.ListCoachesRequest)}, Annotate=annotate
        )

    @property
    def streams(self) -> int:
        """Streams that are open now."""
        return len(self._streams)

    async def list_coaches(self, request: pb.ListCoachesRequest, context: Context) -> pb.ListCoachesResponse:
        """The coaches and what they can do now."""
        return pb.ListCoachesResponse(
            coaches=[coach.info() for _, coach in sorted(self._desk.coaches.items())],
            max_pending_per_session=self._desk.limits.max_pending_per_session,
            service_instance_id=self._instance_id,
        )

    async def annotate(self, _: Any, context: Context) -> None:
        """Serves a stream to its end."""
        limits = self._desk.limits
        if len(self._streams) >= limits.max_streams:
            error = ResourceExhaustedError(
                f"{limits.max_streams} streams are open, and no more are allowed",
                reason="TOO_MANY_STREAMS",
                hint="Ask about all sessions on one stream, or raise the service's limit max_streams.",
                retry_after_s=2.0,
            )
            await abort(context, error)
        stream = AnnotateStream(context, self._desk.open_stream, limits.handshake_s)
        self._streams[stream] = None
        if self._stopping is not None:
            stream.end(self._stopping)
        try:
            await answered(stream.run(), context)
        finally:
            del self._streams[stream]

    def end_streams(self, error: CodriverError) -> None:
        """Ends every stream, open or yet to come: it is read no more, and gets the error when all is answered.

        What is pending is the desk's to answer.
        """
        self._stopping = error
        for stream in self._streams:
            stream.end(error)

    async def gone(self, limit_s: float) -> None:
        """Waits until no stream is open, but not for longer than this: a peer may not read its answers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while self._streams and loop.time() < deadline:
            await asyncio.sleep(0.01)
