"""AgentService: opens, drives and closes sessions."""

from __future__ import annotations

import asyncio
from importlib import metadata
from typing import Any

import grpc

from agent_server.feedback.coaching import Coaching
from agent_server.feedback.settle import settle
from agent_server.limits import Limits
from agent_server.policy_store import PolicyStore
from agent_server.service.drive_stream import DriveStream
from agent_server.service.handshake import agree
from agent_server.sessions.intake import Intake
from agent_server.sessions.registry import SessionRegistry
from codriver.errors import AlreadyExistsError, CodriverError, InvalidArgumentError, UnavailableError
from codriver.serving.status import EOF, Context, Handler, abort, internal, parse, unary_handlers
from codriver.v1 import agent_service_pb2 as pb

SERVER_NAME = "codriver-agent-server"
SERVICE_NAME = "codriver.v1.AgentService"


def server_version() -> str:
    """Release of the installed program; ``0`` when it is not installed."""
    try:
        return metadata.version("codriver")
    except metadata.PackageNotFoundError:
        return "0"


class AgentService:
    """The servicer. Belongs to the event loop."""

    def __init__(
        self,
        store: PolicyStore,
        registry: SessionRegistry,
        intake: Intake,
        limits: Limits,
        instance_id: str,
        coaching: Coaching | None = None,
    ) -> None:
        """A service over the given parts; without ``coaching`` no coach is granted."""
        self._coaching = coaching
        self._store, self._registry, self._intake, self._limits = store, registry, intake, limits
        self._instance_id = instance_id
        self.draining = ""
        """Why no new sessions are opened. Empty: they are."""
        self.streams: set[DriveStream] = set()
        """Attached streams."""

    def handler(self) -> Handler:
        """The service for a gRPC server. Drive moves bytes: answers were serialised in the model's thread."""
        drive: Any = grpc.stream_stream_rpc_method_handler(self.drive)
        return unary_handlers(
            SERVICE_NAME,
            {
                "GetServerInfo": (self.get_server_info, pb.GetServerInfoRequest),
                "OpenSession": (self.open_session, pb.OpenSessionRequest),
                "Act": (self.act, pb.ActRequest),
                "CloseSession": (self.close_session, pb.CloseSessionRequest),
            },
            Drive=drive,
        )

    async def get_server_info(
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        """What the server is."""
        return pb.GetServerInfoResponse(
            server_name=SERVER_NAME,
            server_version=server_version(),
            policies=[policy.info() for policy in self._store.current()],
            max_message_bytes=self._limits.max_message_bytes,
            max_rows_per_message=self._limits.max_rows_per_message,
            server_instance_id=self._instance_id,
        )

    async def open_session(self, request: pb.OpenSessionRequest, context: Context) -> pb.OpenSessionResponse:
        """Settles and opens a session."""
        self._check_draining()
        agreement = agree(request, self._store, self._limits, linked=self._coaching is not None)
        feedback = None
        if self._coaching is not None:
            feedback = await settle(request, self._coaching.link)
            self._check_draining()
        session = self._registry.open(agreement)
        if self._coaching is not None and feedback is not None:
            session.feedback = self._coaching.open(session, feedback)
        policy = session.policy(self._store)
        return pb.OpenSessionResponse(
            session_id=session.session_id,
            resume_token=session.resume_token,
            spec_hash=policy.card.spec_hash,
            policy=policy.version_message(),
            frames_in_flight=agreement.frames_in_flight,
            max_rows_per_message=self._limits.max_rows_per_message,
            max_message_bytes=self._limits.max_message_bytes,
            replay_window_steps=1,
            idle_timeout_s=self._limits.idle_timeout_s,
            coaches=[] if feedback is None else feedback.coaches,
            feedback_rule=None if feedback is None else feedback.rule,
            feedback_credits_per_env=0 if feedback is None else feedback.credits_per_env,
            seed=agreement.seed,
        )

    async def drive(self, _: Any, context: Context) -> None:
        """Serves a stream: attach first, then observations."""
        try:
            await self._drive(context)
        except CodriverError as error:
            found: CodriverError = error
        except (grpc.RpcError, grpc.aio.BaseError):
            raise
        except Exception as error:  # noqa: BLE001 - the caller gets a status, the log gets the trace
            found = internal(error)
        else:
            return
        await abort(context, found)

    async def _drive(self, context: Context) -> None:
        first = await context.read()
        request = pb.DriveRequest() if first is EOF else parse(first, pb.DriveRequest)
        if request.WhichOneof("message") != "attach":
            raise InvalidArgumentError(
                "the first message of a stream must be attach", reason="NOT_ATTACHED", field="attach"
            )
        self._check_draining()
        session = self._registry.find(request.attach.session_id, request.attach.resume_token)
        if session.stream is not None:
            raise AlreadyExistsError(
                f"session {session.session_id} has an attached stream",
                reason="ALREADY_ATTACHED",
                field="attach",
                hint="End that stream first, or open a session of your own.",
            )
        if session.calls:
            raise AlreadyExistsError(
                f"session {session.session_id} has an Act call in progress",
                reason="ALREADY_ACTING",
                field="attach",
            )
        stream = session.stream = DriveStream(session, context, self._intake)
        self.streams.add(stream)
        cleanly = False
        try:
            attached = pb.DriveResponse(attached=pb.Attached(answered=session.answered()))
            stream.send(attached.SerializeToString())
            if session.feedback is not None:
                session.feedback.attached()
            await stream.run()
            cleanly = True
        finally:
            session.stream = None
            if session.feedback is not None:
                session.feedback.detached(cleanly)
            session.touch()
            self.streams.discard(stream)

    async def act(self, request: pb.ActRequest, context: Context) -> pb.ActResponse:
        """Answers one batch."""
        session = self._registry.find(request.session_id, request.resume_token)
        if session.stream is not None:
            raise AlreadyExistsError(
                f"session {session.session_id} has an attached stream",
                reason="ALREADY_ATTACHED",
                hint="Send observations on the stream, or end it first.",
            )
        exchange = self._intake.receive(session, request.observations)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        exchange.then(lambda message: None if answered.done() else answered.set_result(message))
        session.calls += 1
        try:
            message = await answered
        finally:
            session.calls -= 1
            session.touch()
        return pb.ActResponse(actions=pb.DriveResponse.FromString(message).actions)

    async def close_session(
        self, request: pb.CloseSessionRequest, context: Context
    ) -> pb.CloseSessionResponse:
        """Ends a session when its rows in flight are answered."""
        session = self._registry.find(request.session_id, request.resume_token)
        self._registry.close(session)
        if session.stream is not None:
            session.stream.end()
        quiet = asyncio.Event()
        session.when_quiet(quiet.set)
        await quiet.wait()
        return session.counts

    def _check_draining(self) -> None:
        if self.draining:
            raise UnavailableError(
                f"the server is stopping: {self.draining}",
                reason="DRAINING",
                hint="Try again.",
                retry_after_s=2.0,
            )
