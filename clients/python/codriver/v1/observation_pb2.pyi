from codriver.v1 import action_pb2 as _action_pb2
from codriver.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
ROUTE_COMMAND_CHANGE_LANE_LEFT: RouteCommand
ROUTE_COMMAND_CHANGE_LANE_RIGHT: RouteCommand
ROUTE_COMMAND_LANE_FOLLOW: RouteCommand
ROUTE_COMMAND_LEFT: RouteCommand
ROUTE_COMMAND_RIGHT: RouteCommand
ROUTE_COMMAND_STRAIGHT: RouteCommand
ROUTE_COMMAND_UNSPECIFIED: RouteCommand
STEP_KIND_FIRST: StepKind
STEP_KIND_MID: StepKind
STEP_KIND_TERMINATED: StepKind
STEP_KIND_TRUNCATED: StepKind
STEP_KIND_UNSPECIFIED: StepKind

class FeedbackContext(_message.Message):
    __slots__ = ["command", "forward_speed_mps", "target_x_m", "target_y_m"]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    FORWARD_SPEED_MPS_FIELD_NUMBER: _ClassVar[int]
    TARGET_X_M_FIELD_NUMBER: _ClassVar[int]
    TARGET_Y_M_FIELD_NUMBER: _ClassVar[int]
    command: RouteCommand
    forward_speed_mps: float
    target_x_m: float
    target_y_m: float
    def __init__(self, command: _Optional[_Union[RouteCommand, str]] = ..., forward_speed_mps: _Optional[float] = ..., target_x_m: _Optional[float] = ..., target_y_m: _Optional[float] = ...) -> None: ...

class ObservationBatch(_message.Message):
    __slots__ = ["applied_action", "env", "episode", "feedback_context", "observed_at_us", "reward", "sampling_mode", "step", "step_kind", "tensors", "wants_feedback"]
    APPLIED_ACTION_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_US_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_MODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEP_KIND_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    WANTS_FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    applied_action: _containers.RepeatedScalarFieldContainer[float]
    env: _containers.RepeatedScalarFieldContainer[int]
    episode: _containers.RepeatedScalarFieldContainer[int]
    feedback_context: _containers.RepeatedCompositeFieldContainer[FeedbackContext]
    observed_at_us: _containers.RepeatedScalarFieldContainer[int]
    reward: _containers.RepeatedScalarFieldContainer[float]
    sampling_mode: _containers.RepeatedScalarFieldContainer[_action_pb2.SamplingMode]
    step: _containers.RepeatedScalarFieldContainer[int]
    step_kind: _containers.RepeatedScalarFieldContainer[StepKind]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorColumn]
    wants_feedback: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, env: _Optional[_Iterable[int]] = ..., episode: _Optional[_Iterable[int]] = ..., step: _Optional[_Iterable[int]] = ..., step_kind: _Optional[_Iterable[_Union[StepKind, str]]] = ..., reward: _Optional[_Iterable[float]] = ..., applied_action: _Optional[_Iterable[float]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.TensorColumn, _Mapping]]] = ..., wants_feedback: _Optional[_Iterable[bool]] = ..., feedback_context: _Optional[_Iterable[_Union[FeedbackContext, _Mapping]]] = ..., observed_at_us: _Optional[_Iterable[int]] = ..., sampling_mode: _Optional[_Iterable[_Union[_action_pb2.SamplingMode, str]]] = ...) -> None: ...

class ObservationSpec(_message.Message):
    __slots__ = ["tensors"]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    def __init__(self, tensors: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ...) -> None: ...

class StepKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class RouteCommand(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
