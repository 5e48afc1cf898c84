from codriver.v1 import feedback_pb2 as _feedback_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AddModelRequest(_message.Message):
    __slots__ = ["kind", "name", "path"]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    kind: _feedback_pb2.FeedbackKind
    name: str
    path: str
    def __init__(self, kind: _Optional[_Union[_feedback_pb2.FeedbackKind, str]] = ..., path: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class AddModelResponse(_message.Message):
    __slots__ = ["model"]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: CoachModel
    def __init__(self, model: _Optional[_Union[CoachModel, _Mapping]] = ...) -> None: ...

class CoachModel(_message.Message):
    __slots__ = ["coaches", "family", "kind", "name", "parameters", "path", "problem", "version"]
    COACHES_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    coaches: _containers.RepeatedScalarFieldContainer[str]
    family: str
    kind: _feedback_pb2.FeedbackKind
    name: str
    parameters: int
    path: str
    problem: str
    version: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[_feedback_pb2.FeedbackKind, str]] = ..., path: _Optional[str] = ..., family: _Optional[str] = ..., version: _Optional[str] = ..., parameters: _Optional[int] = ..., coaches: _Optional[_Iterable[str]] = ..., problem: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ["models"]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[CoachModel]
    def __init__(self, models: _Optional[_Iterable[_Union[CoachModel, _Mapping]]] = ...) -> None: ...

class RemoveModelRequest(_message.Message):
    __slots__ = ["name"]
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveModelResponse(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class UseModelRequest(_message.Message):
    __slots__ = ["coach", "name"]
    COACH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    coach: str
    name: str
    def __init__(self, coach: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class UseModelResponse(_message.Message):
    __slots__ = ["before", "coach", "load_ms", "model"]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    COACH_FIELD_NUMBER: _ClassVar[int]
    LOAD_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    before: CoachModel
    coach: str
    load_ms: int
    model: CoachModel
    def __init__(self, coach: _Optional[str] = ..., model: _Optional[_Union[CoachModel, _Mapping]] = ..., before: _Optional[_Union[CoachModel, _Mapping]] = ..., load_ms: _Optional[int] = ...) -> None: ...
