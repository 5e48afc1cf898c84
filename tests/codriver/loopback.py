"""A small agent server of the wheel's own parts, real gRPC on a unix socket, for tests of the client side.

Its policy answers (first state item, number of messages so far or ``second``), so that every answer can be foretold.
"""

from __future__ import annotations

import threading
import time
from concurrent import futures

import grpc
import numpy as np

from codriver import driving
from codriver.batch import decode_observations
from codriver.errors import CodriverError, PermissionDeniedError, SessionLostError
from codriver.rpc_status import status_code, status_details
from codriver.spec import check_action_spec, check_observation_spec, spec_hash
from codriver.v1 import action_pb2, agent_service_pb2, agent_service_pb2_grpc, observation_pb2

ENDS = (observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED)


class Loopback(agent_service_pb2_grpc.AgentServiceServicer):
    """Serves on ``unix:PATH``. ``refuse`` ends every OpenSession; ``delay_s`` delays every answer."""

    def __init__(self, path, refuse=None, delay_s=0.0, drain=False, second=None):
        self.address = f"unix:{path}"
        self.refuse, self.delay_s, self.drain, self.second = refuse, delay_s, drain, second
        self.batches, self.metadata, self.requests = [], [], {}
        self._closed = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        agent_service_pb2_grpc.add_AgentServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(0).wait()

    def GetServerInfo(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        time.sleep(self.delay_s)
        info = agent_service_pb2.GetServerInfoResponse(
            server_name="loopback", server_version="0", max_message_bytes=4 << 20, max_rows_per_message=64
        )
        info.policies.add(
            policy=action_pb2.PolicyVersion(policy_id="echo", version=1),
            spec_hash=spec_hash(driving.observation_spec(), driving.action_spec()),
            observation_spec=driving.observation_spec(),
            action_spec=driving.action_spec(),
            card_json='{"kind": "echo"}',
        )
        return info

    def OpenSession(self, request, context):
        try:
            if self.refuse is not None:
                raise self.refuse
            check_observation_spec(request.observation_spec)
            check_action_spec(request.action_spec)
        except CodriverError as error:
            context.set_trailing_metadata(status_details(error))
            context.abort(status_code(error), str(error))
        session_id = f"session-{len(self.requests)}"
        self.requests[session_id] = request
        return agent_service_pb2.OpenSessionResponse(
            session_id=session_id,
            resume_token="secret",
            spec_hash=spec_hash(request.observation_spec, request.action_spec),
        )

    def Drive(self, request_iterator, context):
        attach = next(request_iterator).attach
        self._check(attach, context)
        yield agent_service_pb2.DriveResponse(attached=agent_service_pb2.Attached())
        if self.drain:
            yield agent_service_pb2.DriveResponse(
                drain=agent_service_pb2.Drain(grace_ms=10, reason="maintenance")
            )
            return
        for request in request_iterator:
            time.sleep(self.delay_s)
            yield agent_service_pb2.DriveResponse(
                actions=self._answer(attach.session_id, request.observations)
            )

    def Act(self, request, context):
        self._check(request, context)
        return agent_service_pb2.ActResponse(actions=self._answer(request.session_id, request.observations))

    def CloseSession(self, request, context):
        self._check(request, context)
        del self.requests[request.session_id]
        return agent_service_pb2.CloseSessionResponse(frames_ok=sum(len(batch.env) for batch in self.batches))

    def _check(self, request, context):
        error = None
        if request.session_id not in self.requests:
            error = SessionLostError(f"session {request.session_id!r} is not open here")
        elif request.resume_token != "secret":
            error = PermissionDeniedError("the resume token does not match")
        if error is not None:
            context.set_trailing_metadata(status_details(error))
            context.abort(status_code(error), str(error))

    def _answer(self, session_id, batch):
        self.batches.append(batch)
        rows = len(batch.env)
        columns = decode_observations(self.requests[session_id].observation_spec, batch)
        answer = action_pb2.ActionBatch(env=batch.env, episode=batch.episode, step=batch.step)
        action = np.zeros((rows, 2), np.float32)
        status = np.full(rows, action_pb2.ACTION_STATUS_OK)
        for row in range(rows):
            errors = [column.errors[row] for column in columns.values() if row in column.errors]
            if errors:
                status[row] = action_pb2.ACTION_STATUS_ERROR
                answer.errors.add(
                    row=row,
                    reason=action_pb2.FrameErrorReason.Value(f"FRAME_ERROR_REASON_{errors[0].reason}"),
                    field=errors[0].field,
                    detail=str(errors[0]),
                )
            elif batch.step_kind[row] in ENDS:
                status[row] = action_pb2.ACTION_STATUS_EPISODE_END
            else:
                action[row] = columns["state"].values[row, 0], self.second or len(self.batches)
        answer.action.extend(action.ravel().tolist())
        answer.status.extend(status.tolist())
        return answer
