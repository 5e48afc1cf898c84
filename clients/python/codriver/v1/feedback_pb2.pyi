from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
FEEDBACK_KIND_CLIP_REWARD: FeedbackKind
FEEDBACK_KIND_TEXT_ANNOTATION: FeedbackKind
FEEDBACK_KIND_UNSPECIFIED: FeedbackKind
FEEDBACK_KIND_VLM_ACTION: FeedbackKind
UNAVAILABLE_REASON_BACKLOG: UnavailableReason
UNAVAILABLE_REASON_CANCELLED: UnavailableReason
UNAVAILABLE_REASON_INVALID_REQUEST: UnavailableReason
UNAVAILABLE_REASON_MODEL_ERROR: UnavailableReason
UNAVAILABLE_REASON_MODEL_NOT_LOADED: UnavailableReason
UNAVAILABLE_REASON_RESTARTED: UnavailableReason
UNAVAILABLE_REASON_STALE: UnavailableReason
UNAVAILABLE_REASON_TIMED_OUT: UnavailableReason
UNAVAILABLE_REASON_UNPARSEABLE: UnavailableReason
UNAVAILABLE_REASON_UNSPECIFIED: UnavailableReason

class ClipReward(_message.Message):
    __slots__ = ["anchor_probabilities", "command_index", "speed_index"]
    ANCHOR_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    COMMAND_INDEX_FIELD_NUMBER: _ClassVar[int]
    SPEED_INDEX_FIELD_NUMBER: _ClassVar[int]
    anchor_probabilities: _containers.RepeatedScalarFieldContainer[float]
    command_index: int
    speed_index: int
    def __init__(self, command_index: _Optional[int] = ..., speed_index: _Optional[int] = ..., anchor_probabilities: _Optional[_Iterable[float]] = ...) -> None: ...

class CoachSelection(_message.Message):
    __slots__ = ["coach", "kind", "max_age_steps", "timeout_ms"]
    COACH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_STEPS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    coach: str
    kind: FeedbackKind
    max_age_steps: int
    timeout_ms: int
    def __init__(self, coach: _Optional[str] = ..., kind: _Optional[_Union[FeedbackKind, str]] = ..., timeout_ms: _Optional[int] = ..., max_age_steps: _Optional[int] = ...) -> None: ...

class Feedback(_message.Message):
    __slots__ = ["age_steps", "cached", "clip_reward", "coach", "inference_us", "key", "model_id", "model_version", "queue_us", "unavailable", "vlm_action"]
    AGE_STEPS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    CLIP_REWARD_FIELD_NUMBER: _ClassVar[int]
    COACH_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_US_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    VLM_ACTION_FIELD_NUMBER: _ClassVar[int]
    age_steps: int
    cached: bool
    clip_reward: ClipReward
    coach: str
    inference_us: int
    key: FeedbackKey
    model_id: str
    model_version: str
    queue_us: int
    unavailable: Unavailable
    vlm_action: VlmAction
    def __init__(self, key: _Optional[_Union[FeedbackKey, _Mapping]] = ..., coach: _Optional[str] = ..., vlm_action: _Optional[_Union[VlmAction, _Mapping]] = ..., clip_reward: _Optional[_Union[ClipReward, _Mapping]] = ..., unavailable: _Optional[_Union[Unavailable, _Mapping]] = ..., model_id: _Optional[str] = ..., model_version: _Optional[str] = ..., queue_us: _Optional[int] = ..., inference_us: _Optional[int] = ..., age_steps: _Optional[int] = ..., cached: bool = ...) -> None: ...

class FeedbackKey(_message.Message):
    __slots__ = ["env", "episode", "session_id", "step"]
    ENV_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    env: int
    episode: int
    session_id: str
    step: int
    def __init__(self, session_id: _Optional[str] = ..., env: _Optional[int] = ..., episode: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class FeedbackRule(_message.Message):
    __slots__ = ["changed_share", "every_k_steps", "risky_ttc_s"]
    CHANGED_SHARE_FIELD_NUMBER: _ClassVar[int]
    EVERY_K_STEPS_FIELD_NUMBER: _ClassVar[int]
    RISKY_TTC_S_FIELD_NUMBER: _ClassVar[int]
    changed_share: float
    every_k_steps: int
    risky_ttc_s: float
    def __init__(self, every_k_steps: _Optional[int] = ..., risky_ttc_s: _Optional[float] = ..., changed_share: _Optional[float] = ...) -> None: ...

class Unavailable(_message.Message):
    __slots__ = ["detail", "reason"]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    detail: str
    reason: UnavailableReason
    def __init__(self, reason: _Optional[_Union[UnavailableReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class VlmAction(_message.Message):
    __slots__ = ["brake", "raw_text", "steer", "throttle"]
    BRAKE_FIELD_NUMBER: _ClassVar[int]
    RAW_TEXT_FIELD_NUMBER: _ClassVar[int]
    STEER_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_FIELD_NUMBER: _ClassVar[int]
    brake: float
    raw_text: str
    steer: float
    throttle: float
    def __init__(self, throttle: _Optional[float] = ..., steer: _Optional[float] = ..., brake: _Optional[float] = ..., raw_text: _Optional[str] = ...) -> None: ...

class FeedbackKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class UnavailableReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
