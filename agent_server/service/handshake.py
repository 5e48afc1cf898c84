"""OpenSession: what the client offers against what the policy and the server can do."""

from __future__ import annotations

import secrets

from agent_server.feedback.settle import violations as feedback_violations
from agent_server.limits import Limits
from agent_server.policy_store import LoadedPolicy, PolicyStore
from agent_server.sessions.checks import Layout
from agent_server.sessions.replies import brake_action
from agent_server.sessions.session import Agreement
from codriver.codecs.column import row_nbytes
from codriver.errors import FailedPreconditionError, InvalidArgumentError, SpecMismatchError, Violation
from codriver.spec import check_action_spec, check_observation_spec, compare_specs
from codriver.v1 import action_pb2, agent_service_pb2

MAX_ENVS = 65_536
_SERVING = (agent_service_pb2.SESSION_PURPOSE_UNSPECIFIED, agent_service_pb2.SESSION_PURPOSE_SERVING)


def agree(
    request: agent_service_pb2.OpenSessionRequest, store: PolicyStore, limits: Limits, linked: bool = False
) -> Agreement:
    """Settles a session, but for its coaches (``agent_server.feedback.settle``).

    Args:
        request: What the client wants.
        store: The policies.
        limits: What is allowed.
        linked: True: the server has a link to a feedback service.

    Raises:
        InvalidArgumentError: Fields are wrong in themselves; every one is named.
        NotFoundError: There is no such policy; those that there are, are named.
        SpecMismatchError: The policy expects another spec; every difference is named.
        FailedPreconditionError: The purpose or the sampling mode is not possible here.
    """
    check_observation_spec(request.observation_spec)
    check_action_spec(request.action_spec)
    _check_fields(request, linked)
    if request.purpose not in _SERVING:
        raise FailedPreconditionError(
            "SESSION_PURPOSE_TRAINING is not possible: this server has no learner",
            reason="NO_LEARNER",
            field="purpose",
            hint="Open the session with SESSION_PURPOSE_SERVING.",
        )
    policy = store.find(request.policy.policy_id, request.policy.version)
    _check_spec(request, policy)
    stochastic = request.sampling_mode == action_pb2.SAMPLING_MODE_STOCHASTIC
    if stochastic:
        policy.check_stochastic()
    tensors = list(request.observation_spec.tensors)
    wanted = request.frames_in_flight or max(limits.frames_in_flight, request.num_envs)
    return Agreement(
        client_name=request.client_name,
        num_envs=request.num_envs,
        layout=Layout(tensors, [row_nbytes(spec) for spec in tensors], len(request.action_spec.names)),
        action_spec=request.action_spec,
        policy_id=policy.key.policy_id,
        pinned_version=request.policy.version,
        seed=request.seed if request.HasField("seed") else secrets.randbits(63),
        stochastic=stochastic,
        deadline_s=request.act_deadline_ms / 1e3,
        fallback=request.fallback,
        frames_in_flight=min(wanted, limits.max_frames_in_flight),
    )


def _check_fields(request: agent_service_pb2.OpenSessionRequest, linked: bool) -> None:
    found: list[Violation] = []
    if len(request.client_name) > 128:
        found.append(
            Violation("client_name", f"has {len(request.client_name)} characters; at most 128 are allowed")
        )
    if not 1 <= request.num_envs <= MAX_ENVS:
        found.append(Violation("num_envs", f"is {request.num_envs}; 1 to {MAX_ENVS} are allowed"))
    enums = (
        ("purpose", request.purpose, agent_service_pb2.SessionPurpose),
        ("sampling_mode", request.sampling_mode, action_pb2.SamplingMode),
        ("fallback", request.fallback, action_pb2.Fallback),
    )
    for name, value, enum in enums:
        if value not in enum.values():
            found.append(Violation(name, f"is {value}, which is no value of the contract"))
    if request.session_id and request.purpose in _SERVING:
        found.append(Violation("session_id", "is only for SESSION_PURPOSE_TRAINING; leave it empty"))
    brakes = request.fallback in (action_pb2.FALLBACK_HOLD, action_pb2.FALLBACK_BRAKE)
    if brakes and not request.act_deadline_ms:
        found.append(Violation("fallback", "needs act_deadline_ms: without a deadline no row is late"))
    if brakes and brake_action(request.action_spec) is None:
        names = ", ".join(request.action_spec.names)
        found.append(
            Violation("fallback", f"needs an action to brake with (acceleration or brake), not only: {names}")
        )
    found += feedback_violations(request, linked)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InvalidArgumentError(f"{found[0].field} {found[0].description}{more}", violations=found)


def _check_spec(request: agent_service_pb2.OpenSessionRequest, policy: LoadedPolicy) -> None:
    found = compare_specs(
        request.observation_spec, request.action_spec, policy.observation_spec, policy.action_spec
    )
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SpecMismatchError(
            f"policy {policy.key.policy_id!r} was trained on another spec: {found[0].field} "
            f"{found[0].description}{more}",
            violations=found,
            hint="GetServerInfo lists the spec of each policy.",
        )
