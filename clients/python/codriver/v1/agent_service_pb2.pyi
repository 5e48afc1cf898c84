from codriver.v1 import action_pb2 as _action_pb2
from codriver.v1 import feedback_pb2 as _feedback_pb2
from codriver.v1 import observation_pb2 as _observation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
SESSION_PURPOSE_SERVING: SessionPurpose
SESSION_PURPOSE_TRAINING: SessionPurpose
SESSION_PURPOSE_UNSPECIFIED: SessionPurpose

class ActRequest(_message.Message):
    __slots__ = ["observations", "resume_token", "session_id"]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    observations: _observation_pb2.ObservationBatch
    resume_token: str
    session_id: str
    def __init__(self, session_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., observations: _Optional[_Union[_observation_pb2.ObservationBatch, _Mapping]] = ...) -> None: ...

class ActResponse(_message.Message):
    __slots__ = ["actions"]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    actions: _action_pb2.ActionBatch
    def __init__(self, actions: _Optional[_Union[_action_pb2.ActionBatch, _Mapping]] = ...) -> None: ...

class Attach(_message.Message):
    __slots__ = ["resume_token", "session_id"]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    session_id: str
    def __init__(self, session_id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class Attached(_message.Message):
    __slots__ = ["answered", "logged"]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    answered: _containers.RepeatedCompositeFieldContainer[LoggedUpTo]
    logged: _containers.RepeatedCompositeFieldContainer[LoggedUpTo]
    def __init__(self, answered: _Optional[_Iterable[_Union[LoggedUpTo, _Mapping]]] = ..., logged: _Optional[_Iterable[_Union[LoggedUpTo, _Mapping]]] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ["resume_token", "session_id"]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    session_id: str
    def __init__(self, session_id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ["episodes", "frames_error", "frames_fallback", "frames_ok"]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_ERROR_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FRAMES_OK_FIELD_NUMBER: _ClassVar[int]
    episodes: int
    frames_error: int
    frames_fallback: int
    frames_ok: int
    def __init__(self, frames_ok: _Optional[int] = ..., frames_fallback: _Optional[int] = ..., frames_error: _Optional[int] = ..., episodes: _Optional[int] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ["grace_ms", "reason"]
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    grace_ms: int
    reason: str
    def __init__(self, grace_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class DriveRequest(_message.Message):
    __slots__ = ["attach", "observations"]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    attach: Attach
    observations: _observation_pb2.ObservationBatch
    def __init__(self, attach: _Optional[_Union[Attach, _Mapping]] = ..., observations: _Optional[_Union[_observation_pb2.ObservationBatch, _Mapping]] = ...) -> None: ...

class DriveResponse(_message.Message):
    __slots__ = ["actions", "attached", "drain", "feedback", "log_progress"]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    LOG_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    actions: _action_pb2.ActionBatch
    attached: Attached
    drain: Drain
    feedback: FeedbackBatch
    log_progress: LogProgress
    def __init__(self, attached: _Optional[_Union[Attached, _Mapping]] = ..., actions: _Optional[_Union[_action_pb2.ActionBatch, _Mapping]] = ..., feedback: _Optional[_Union[FeedbackBatch, _Mapping]] = ..., log_progress: _Optional[_Union[LogProgress, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ...) -> None: ...

class FeedbackBatch(_message.Message):
    __slots__ = ["feedback"]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    feedback: _containers.RepeatedCompositeFieldContainer[_feedback_pb2.Feedback]
    def __init__(self, feedback: _Optional[_Iterable[_Union[_feedback_pb2.Feedback, _Mapping]]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ["max_message_bytes", "max_rows_per_message", "policies", "server_instance_id", "server_name", "server_version"]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    SERVER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    max_message_bytes: int
    max_rows_per_message: int
    policies: _containers.RepeatedCompositeFieldContainer[PolicyInfo]
    server_instance_id: str
    server_name: str
    server_version: str
    def __init__(self, server_name: _Optional[str] = ..., server_version: _Optional[str] = ..., policies: _Optional[_Iterable[_Union[PolicyInfo, _Mapping]]] = ..., max_message_bytes: _Optional[int] = ..., max_rows_per_message: _Optional[int] = ..., server_instance_id: _Optional[str] = ...) -> None: ...

class LogProgress(_message.Message):
    __slots__ = ["logged"]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    logged: _containers.RepeatedCompositeFieldContainer[LoggedUpTo]
    def __init__(self, logged: _Optional[_Iterable[_Union[LoggedUpTo, _Mapping]]] = ...) -> None: ...

class LoggedUpTo(_message.Message):
    __slots__ = ["env", "episode", "step"]
    ENV_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    env: int
    episode: int
    step: int
    def __init__(self, env: _Optional[int] = ..., episode: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ["act_deadline_ms", "action_spec", "client_name", "coaches", "fallback", "feedback_credits_per_env", "feedback_rule", "frames_in_flight", "num_envs", "observation_spec", "policy", "purpose", "sampling_mode", "seed", "session_id"]
    ACTION_SPEC_FIELD_NUMBER: _ClassVar[int]
    ACT_DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    COACHES_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_CREDITS_PER_ENV_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_RULE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    NUM_ENVS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPEC_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_MODE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    act_deadline_ms: int
    action_spec: _action_pb2.ActionSpec
    client_name: str
    coaches: _containers.RepeatedCompositeFieldContainer[_feedback_pb2.CoachSelection]
    fallback: _action_pb2.Fallback
    feedback_credits_per_env: int
    feedback_rule: _feedback_pb2.FeedbackRule
    frames_in_flight: int
    num_envs: int
    observation_spec: _observation_pb2.ObservationSpec
    policy: _action_pb2.PolicyVersion
    purpose: SessionPurpose
    sampling_mode: _action_pb2.SamplingMode
    seed: int
    session_id: str
    def __init__(self, client_name: _Optional[str] = ..., observation_spec: _Optional[_Union[_observation_pb2.ObservationSpec, _Mapping]] = ..., action_spec: _Optional[_Union[_action_pb2.ActionSpec, _Mapping]] = ..., num_envs: _Optional[int] = ..., purpose: _Optional[_Union[SessionPurpose, str]] = ..., session_id: _Optional[str] = ..., policy: _Optional[_Union[_action_pb2.PolicyVersion, _Mapping]] = ..., sampling_mode: _Optional[_Union[_action_pb2.SamplingMode, str]] = ..., act_deadline_ms: _Optional[int] = ..., fallback: _Optional[_Union[_action_pb2.Fallback, str]] = ..., frames_in_flight: _Optional[int] = ..., coaches: _Optional[_Iterable[_Union[_feedback_pb2.CoachSelection, _Mapping]]] = ..., feedback_rule: _Optional[_Union[_feedback_pb2.FeedbackRule, _Mapping]] = ..., feedback_credits_per_env: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class OpenSessionResponse(_message.Message):
    __slots__ = ["coaches", "feedback_credits_per_env", "feedback_rule", "frames_in_flight", "idle_timeout_s", "max_message_bytes", "max_rows_per_message", "policy", "replay_window_steps", "resume_token", "seed", "session_id", "spec_hash"]
    COACHES_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_CREDITS_PER_ENV_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_RULE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REPLAY_WINDOW_STEPS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    coaches: _containers.RepeatedCompositeFieldContainer[_feedback_pb2.CoachSelection]
    feedback_credits_per_env: int
    feedback_rule: _feedback_pb2.FeedbackRule
    frames_in_flight: int
    idle_timeout_s: int
    max_message_bytes: int
    max_rows_per_message: int
    policy: _action_pb2.PolicyVersion
    replay_window_steps: int
    resume_token: str
    seed: int
    session_id: str
    spec_hash: str
    def __init__(self, session_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., spec_hash: _Optional[str] = ..., policy: _Optional[_Union[_action_pb2.PolicyVersion, _Mapping]] = ..., frames_in_flight: _Optional[int] = ..., max_rows_per_message: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., replay_window_steps: _Optional[int] = ..., idle_timeout_s: _Optional[int] = ..., coaches: _Optional[_Iterable[_Union[_feedback_pb2.CoachSelection, _Mapping]]] = ..., feedback_rule: _Optional[_Union[_feedback_pb2.FeedbackRule, _Mapping]] = ..., feedback_credits_per_env: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class PolicyInfo(_message.Message):
    __slots__ = ["action_spec", "card_json", "has_value", "observation_spec", "policy", "spec_hash", "stochastic"]
    ACTION_SPEC_FIELD_NUMBER: _ClassVar[int]
    CARD_JSON_FIELD_NUMBER: _ClassVar[int]
    HAS_VALUE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPEC_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    STOCHASTIC_FIELD_NUMBER: _ClassVar[int]
    action_spec: _action_pb2.ActionSpec
    card_json: str
    has_value: bool
    observation_spec: _observation_pb2.ObservationSpec
    policy: _action_pb2.PolicyVersion
    spec_hash: str
    stochastic: bool
    def __init__(self, policy: _Optional[_Union[_action_pb2.PolicyVersion, _Mapping]] = ..., spec_hash: _Optional[str] = ..., observation_spec: _Optional[_Union[_observation_pb2.ObservationSpec, _Mapping]] = ..., action_spec: _Optional[_Union[_action_pb2.ActionSpec, _Mapping]] = ..., stochastic: bool = ..., has_value: bool = ..., card_json: _Optional[str] = ...) -> None: ...

class SessionPurpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
