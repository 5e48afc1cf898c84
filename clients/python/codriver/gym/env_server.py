"""The server's side of ``RemoteEnv``: an ``AgentService`` whose policy is whoever calls ``step``."""

from __future__ import annotations

import secrets
from concurrent import futures
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Iterator, NoReturn

import grpc
import numpy as np

from codriver import __version__
from codriver.errors import (
    AlreadyExistsError,
    CodriverError,
    DeadlineExceededError,
    InvalidArgumentError,
    PermissionDeniedError,
    SessionLostError,
    SpecMismatchError,
    UnimplementedError,
)
from codriver.gym.link import ENDS, Link, Refusal, Row, read_row
from codriver.rpc_status import status_code, status_details
from codriver.serving.listen import listen as listen_on
from codriver.spec import check_action_spec, check_observation_spec, compare_specs, spec_hash
from codriver.v1 import action_pb2, agent_service_pb2, agent_service_pb2_grpc, observation_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

POLICY_ID = "remote-env"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class EnvServer(agent_service_pb2_grpc.AgentServiceServicer):
    """Listens for one simulator at a time.

    Args:
        listen: ``HOST:PORT`` (port 0: any free one) or ``unix:PATH``.
        observation_spec: What a session must offer; optional tensors apart.
        action_spec: What it must take.
        allow_plaintext: True: also listen beyond loopback, unencrypted.

    Attributes:
        address: Where simulators connect.

    Raises:
        AlreadyExistsError: Somebody listens there.
        SpecError: A spec is not valid.
    """

    def __init__(
        self,
        listen: str,
        observation_spec: observation_pb2.ObservationSpec,
        action_spec: action_pb2.ActionSpec,
        allow_plaintext: bool = False,
    ) -> None:
        check_observation_spec(observation_spec)
        check_action_spec(action_spec)
        self._observation_spec, self._action_spec = observation_spec, action_spec
        self._hash = spec_hash(observation_spec, action_spec)
        self._instance = secrets.token_hex(8)
        self._session: agent_service_pb2.OpenSessionRequest | None = None
        self._session_id = self._token = ""
        self._attached: Link | None = None
        self._closing = False
        self._counts = agent_service_pb2.CloseSessionResponse()
        self._links: SimpleQueue[Link] = SimpleQueue()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8, thread_name_prefix="codriver-env"),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)],
        )
        agent_service_pb2_grpc.add_AgentServiceServicer_to_server(self, self._server)
        self.address = listen_on(self._server, listen, allow_plaintext=allow_plaintext)
        self._server.start()

    def next_link(self, timeout_s: float) -> Link:
        """Waits for a simulator to attach.

        Raises:
            DeadlineExceededError: None does.
        """
        try:
            return self._links.get(timeout=timeout_s)
        except Empty:
            raise DeadlineExceededError(
                f"no simulator connected to {self.address} for {timeout_s:g} s",
                hint=f"Start one, as `codriver drive sumo --server {self.address} --envs 1`.",
            ) from None

    def close(self) -> None:
        """Stops listening; a connected simulator is told, and sees its stream end."""
        self._closing = True
        if self._attached is not None:
            self._attached.end("the environment was closed")
        self._server.stop(0.5).wait()

    # ------------------------------------------------------------- AgentService

    def GetServerInfo(self, request: Any, context: Any) -> agent_service_pb2.GetServerInfoResponse:
        """Names one policy: the learner."""
        info = agent_service_pb2.GetServerInfoResponse(
            server_name="codriver-remote-env",
            server_version=__version__,
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_rows_per_message=1,
            server_instance_id=self._instance,
        )
        info.policies.add(
            policy=action_pb2.PolicyVersion(policy_id=POLICY_ID, version=1),
            spec_hash=self._hash,
            observation_spec=self._observation_spec,
            action_spec=self._action_spec,
            stochastic=True,
        )
        return info

    def OpenSession(
        self, request: agent_service_pb2.OpenSessionRequest, context: Any
    ) -> agent_service_pb2.OpenSessionResponse:
        """Accepts one session of one environment with the agreed spec; a session without a stream gives way."""
        try:
            self._check(request)
        except CodriverError as error:
            _abort(context, error)
        self._session, self._session_id, self._token = (
            request,
            secrets.token_hex(8),
            secrets.token_urlsafe(24),
        )
        self._counts = agent_service_pb2.CloseSessionResponse()
        response = agent_service_pb2.OpenSessionResponse(
            session_id=self._session_id,
            resume_token=self._token,
            spec_hash=self._hash,
            frames_in_flight=1,
            max_rows_per_message=1,
            max_message_bytes=MAX_MESSAGE_BYTES,
            seed=request.seed,
        )
        response.policy.policy_id, response.policy.version = POLICY_ID, 1
        return response

    def Drive(
        self, request_iterator: Iterator[agent_service_pb2.DriveRequest], context: Any
    ) -> Iterator[Any]:
        """Hands rows to the environment and its actions back."""
        first = next(request_iterator, None)
        self._check_caller(first.attach if first is not None else agent_service_pb2.Attach(), context)
        if self._attached is not None:
            _abort(context, _busy())
        link = self._attached = Link()
        context.add_callback(lambda: link.end("the simulator's stream ended"))
        try:
            yield agent_service_pb2.DriveResponse(attached=agent_service_pb2.Attached())
            self._links.put(link)
            for request in request_iterator:
                actions = self._exchange(request.observations, link, context)
                if actions is None:
                    if self._closing:
                        drain = agent_service_pb2.Drain(reason="the learner closed its environment")
                        yield agent_service_pb2.DriveResponse(drain=drain)
                    return
                yield agent_service_pb2.DriveResponse(actions=actions)
        finally:
            self._attached = None
            link.end("the simulator ended its stream")

    def Act(self, request: Any, context: Any) -> Any:
        """Not served here."""
        _abort(
            context,
            UnimplementedError("a remote environment needs a Drive stream", hint="Use Drive, not Act."),
        )

    def CloseSession(self, request: Any, context: Any) -> agent_service_pb2.CloseSessionResponse:
        """Ends the session; its stream, if it has one, ends when the client closes it."""
        self._check_caller(request, context)
        self._session_id = self._token = ""
        if self._attached is not None:
            self._attached.end("the simulator closed its session")
        return self._counts

    # ------------------------------------------------------------------ details

    def _check(self, request: agent_service_pb2.OpenSessionRequest) -> None:
        check_observation_spec(request.observation_spec)
        check_action_spec(request.action_spec)
        found = compare_specs(
            request.observation_spec, request.action_spec, self._observation_spec, self._action_spec
        )
        if found:
            text = f"the environment has another spec: {found[0].field} {found[0].description}"
            raise SpecMismatchError(text, violations=found)
        if request.num_envs != 1:
            raise InvalidArgumentError(
                f"this server takes 1 environment, not {request.num_envs}",
                field="num_envs",
                hint="Open one session per environment, each to a RemoteEnv of its own.",
            )
        if request.policy.policy_id not in ("", POLICY_ID):
            raise InvalidArgumentError(f"the only policy here is {POLICY_ID!r}", field="policy.policy_id")
        if self._attached is not None:
            raise _busy()

    def _check_caller(self, request: Any, context: Any) -> None:
        if not request.session_id or request.session_id != self._session_id:
            error = SessionLostError(
                f"session {request.session_id[:64]!r} is not open here", field="session_id"
            )
            _abort(context, error)
        if not secrets.compare_digest(request.resume_token.encode(), self._token.encode()):
            _abort(context, PermissionDeniedError("the resume token does not match", field="resume_token"))

    def _exchange(
        self, batch: observation_pb2.ObservationBatch, link: Link, context: Any
    ) -> action_pb2.ActionBatch | None:
        """One message of one row. None: the stream has ended meanwhile."""
        dimensions = len(self._action_spec.names)
        answer = action_pb2.ActionBatch(env=batch.env, episode=batch.episode, step=batch.step)
        row = self._read(batch, answer, context)
        action: NDArray[np.float32] | Refusal | None = np.zeros(dimensions, np.float32)
        status = action_pb2.ACTION_STATUS_ERROR
        if row is not None:
            link.put(row)
            if row.kind in ENDS:
                status = action_pb2.ACTION_STATUS_EPISODE_END
                self._counts.episodes += 1
            else:
                status = action_pb2.ACTION_STATUS_OK
                action = link.wait_answer()
                if action is None:
                    return None
        if isinstance(action, Refusal):
            status = action_pb2.ACTION_STATUS_ERROR
            answer.errors.add(
                row=0,
                reason=action_pb2.FRAME_ERROR_REASON_POLICY_FAILED,
                field="episode",
                detail=action.detail,
            )
            action = np.zeros(dimensions, np.float32)
        self._counts.frames_ok += status == action_pb2.ACTION_STATUS_OK
        self._counts.frames_error += status == action_pb2.ACTION_STATUS_ERROR
        answer.status.append(status)
        answer.action.extend(action.tolist() if action is not None else ())
        if status == action_pb2.ACTION_STATUS_OK:
            answer.policy.policy_id, answer.policy.version = POLICY_ID, 1
            answer.forward_rows = 1
        return answer

    def _read(
        self, batch: observation_pb2.ObservationBatch, answer: action_pb2.ActionBatch, context: Any
    ) -> Row | None:
        """The row of a message; None when it is refused, which is then noted in the answer."""
        if not len(batch.env) == len(batch.episode) == len(batch.step) == len(batch.step_kind) == 1:
            error = InvalidArgumentError("a message must have exactly one row", reason="MALFORMED_BATCH")
            _abort(context, error)
        assert self._session is not None
        try:
            return read_row(batch, self._session.observation_spec, len(self._action_spec.names))
        except InvalidArgumentError as error:
            reason = action_pb2.FrameErrorReason.Value(f"FRAME_ERROR_REASON_{error.reason}")
            answer.errors.add(row=0, reason=reason, field=error.field, detail=str(error))
            return None


def _busy() -> AlreadyExistsError:
    return AlreadyExistsError(
        "another simulator is attached to this environment",
        reason="ALREADY_ATTACHED",
        hint="Close it first, or connect to another RemoteEnv.",
    )


def _abort(context: Any, error: CodriverError) -> NoReturn:
    context.set_trailing_metadata(status_details(error))
    context.abort(status_code(error), str(error))
    raise AssertionError("unreachable")
