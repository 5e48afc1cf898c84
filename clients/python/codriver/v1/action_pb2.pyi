from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

ACTION_STATUS_EPISODE_END: ActionStatus
ACTION_STATUS_ERROR: ActionStatus
ACTION_STATUS_FALLBACK_BRAKE: ActionStatus
ACTION_STATUS_FALLBACK_HOLD: ActionStatus
ACTION_STATUS_OK: ActionStatus
ACTION_STATUS_UNSPECIFIED: ActionStatus
DESCRIPTOR: _descriptor.FileDescriptor
FALLBACK_BRAKE: Fallback
FALLBACK_HOLD: Fallback
FALLBACK_NONE: Fallback
FALLBACK_UNSPECIFIED: Fallback
FRAME_ERROR_REASON_ALREADY_EXISTS: FrameErrorReason
FRAME_ERROR_REASON_DEADLINE_EXCEEDED: FrameErrorReason
FRAME_ERROR_REASON_DUPLICATE_ENV: FrameErrorReason
FRAME_ERROR_REASON_EPISODE_ENDED: FrameErrorReason
FRAME_ERROR_REASON_EXPIRED_KEY: FrameErrorReason
FRAME_ERROR_REASON_INVALID_STEP_KIND: FrameErrorReason
FRAME_ERROR_REASON_MALFORMED_TENSOR: FrameErrorReason
FRAME_ERROR_REASON_NOT_FINITE: FrameErrorReason
FRAME_ERROR_REASON_NO_CREDIT: FrameErrorReason
FRAME_ERROR_REASON_OUT_OF_ORDER: FrameErrorReason
FRAME_ERROR_REASON_POLICY_FAILED: FrameErrorReason
FRAME_ERROR_REASON_UNKNOWN_ENV: FrameErrorReason
FRAME_ERROR_REASON_UNSPECIFIED: FrameErrorReason
SAMPLING_MODE_DETERMINISTIC: SamplingMode
SAMPLING_MODE_STOCHASTIC: SamplingMode
SAMPLING_MODE_UNSPECIFIED: SamplingMode

class ActionBatch(_message.Message):
    __slots__ = ["action", "env", "episode", "errors", "forward_rows", "inference_us", "policy", "queue_us", "status", "step", "value"]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_ROWS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_US_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    action: _containers.RepeatedScalarFieldContainer[float]
    env: _containers.RepeatedScalarFieldContainer[int]
    episode: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.RepeatedCompositeFieldContainer[FrameError]
    forward_rows: int
    inference_us: int
    policy: PolicyVersion
    queue_us: int
    status: _containers.RepeatedScalarFieldContainer[ActionStatus]
    step: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, env: _Optional[_Iterable[int]] = ..., episode: _Optional[_Iterable[int]] = ..., step: _Optional[_Iterable[int]] = ..., action: _Optional[_Iterable[float]] = ..., status: _Optional[_Iterable[_Union[ActionStatus, str]]] = ..., errors: _Optional[_Iterable[_Union[FrameError, _Mapping]]] = ..., value: _Optional[_Iterable[float]] = ..., policy: _Optional[_Union[PolicyVersion, _Mapping]] = ..., queue_us: _Optional[int] = ..., inference_us: _Optional[int] = ..., forward_rows: _Optional[int] = ...) -> None: ...

class ActionSpec(_message.Message):
    __slots__ = ["high", "low", "names"]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    high: _containers.RepeatedScalarFieldContainer[float]
    low: _containers.RepeatedScalarFieldContainer[float]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ..., low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ...) -> None: ...

class FrameError(_message.Message):
    __slots__ = ["detail", "field", "reason", "row"]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    detail: str
    field: str
    reason: FrameErrorReason
    row: int
    def __init__(self, row: _Optional[int] = ..., reason: _Optional[_Union[FrameErrorReason, str]] = ..., field: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class PolicyVersion(_message.Message):
    __slots__ = ["policy_id", "version"]
    POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    policy_id: str
    version: int
    def __init__(self, policy_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class SamplingMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ActionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Fallback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class FrameErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
