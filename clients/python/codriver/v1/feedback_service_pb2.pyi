from codriver.v1 import feedback_pb2 as _feedback_pb2
from codriver.v1 import observation_pb2 as _observation_pb2
from codriver.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnnotateRequest(_message.Message):
    __slots__ = ["cancel", "picture_spec", "progress", "requests"]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_SPEC_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    cancel: CancelRequests
    picture_spec: _tensor_pb2.TensorSpec
    progress: EnvProgress
    requests: AnnotationRequests
    def __init__(self, picture_spec: _Optional[_Union[_tensor_pb2.TensorSpec, _Mapping]] = ..., requests: _Optional[_Union[AnnotationRequests, _Mapping]] = ..., progress: _Optional[_Union[EnvProgress, _Mapping]] = ..., cancel: _Optional[_Union[CancelRequests, _Mapping]] = ...) -> None: ...

class AnnotateResponse(_message.Message):
    __slots__ = ["credits", "feedback"]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    credits: int
    feedback: _containers.RepeatedCompositeFieldContainer[_feedback_pb2.Feedback]
    def __init__(self, feedback: _Optional[_Iterable[_Union[_feedback_pb2.Feedback, _Mapping]]] = ..., credits: _Optional[int] = ...) -> None: ...

class AnnotationRequest(_message.Message):
    __slots__ = ["coach", "context", "key", "kind", "max_age_steps", "picture", "timeout_ms"]
    COACH_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_STEPS_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    coach: str
    context: _observation_pb2.FeedbackContext
    key: _feedback_pb2.FeedbackKey
    kind: _feedback_pb2.FeedbackKind
    max_age_steps: int
    picture: bytes
    timeout_ms: int
    def __init__(self, key: _Optional[_Union[_feedback_pb2.FeedbackKey, _Mapping]] = ..., coach: _Optional[str] = ..., kind: _Optional[_Union[_feedback_pb2.FeedbackKind, str]] = ..., picture: _Optional[bytes] = ..., context: _Optional[_Union[_observation_pb2.FeedbackContext, _Mapping]] = ..., timeout_ms: _Optional[int] = ..., max_age_steps: _Optional[int] = ...) -> None: ...

class AnnotationRequests(_message.Message):
    __slots__ = ["requests"]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[AnnotationRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[AnnotationRequest, _Mapping]]] = ...) -> None: ...

class CancelRequests(_message.Message):
    __slots__ = ["keys"]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[_feedback_pb2.FeedbackKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[_feedback_pb2.FeedbackKey, _Mapping]]] = ...) -> None: ...

class CoachInfo(_message.Message):
    __slots__ = ["coach", "detail", "kind", "model_id", "model_version", "picture_spec", "ready"]
    COACH_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PICTURE_SPEC_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    coach: str
    detail: str
    kind: _feedback_pb2.FeedbackKind
    model_id: str
    model_version: str
    picture_spec: _tensor_pb2.TensorSpec
    ready: bool
    def __init__(self, coach: _Optional[str] = ..., kind: _Optional[_Union[_feedback_pb2.FeedbackKind, str]] = ..., model_id: _Optional[str] = ..., model_version: _Optional[str] = ..., ready: bool = ..., detail: _Optional[str] = ..., picture_spec: _Optional[_Union[_tensor_pb2.TensorSpec, _Mapping]] = ...) -> None: ...

class EnvProgress(_message.Message):
    __slots__ = ["latest"]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    latest: _feedback_pb2.FeedbackKey
    def __init__(self, latest: _Optional[_Union[_feedback_pb2.FeedbackKey, _Mapping]] = ...) -> None: ...

class ListCoachesRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListCoachesResponse(_message.Message):
    __slots__ = ["coaches", "max_pending_per_session", "service_instance_id"]
    COACHES_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_PER_SESSION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    coaches: _containers.RepeatedCompositeFieldContainer[CoachInfo]
    max_pending_per_session: int
    service_instance_id: str
    def __init__(self, coaches: _Optional[_Iterable[_Union[CoachInfo, _Mapping]]] = ..., max_pending_per_session: _Optional[int] = ..., service_instance_id: _Optional[str] = ...) -> None: ...
