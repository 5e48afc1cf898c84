from codriver.v1 import action_pb2 as _action_pb2
from codriver.v1 import agent_service_pb2 as _agent_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DrainServerRequest(_message.Message):
    __slots__ = ["grace_ms", "reason"]
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    grace_ms: int
    reason: str
    def __init__(self, grace_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class DrainServerResponse(_message.Message):
    __slots__ = ["attached_streams"]
    ATTACHED_STREAMS_FIELD_NUMBER: _ClassVar[int]
    attached_streams: int
    def __init__(self, attached_streams: _Optional[int] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ["loaded", "policies"]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    loaded: _containers.RepeatedCompositeFieldContainer[_action_pb2.PolicyVersion]
    policies: _containers.RepeatedCompositeFieldContainer[_agent_service_pb2.PolicyInfo]
    def __init__(self, policies: _Optional[_Iterable[_Union[_agent_service_pb2.PolicyInfo, _Mapping]]] = ..., loaded: _Optional[_Iterable[_Union[_action_pb2.PolicyVersion, _Mapping]]] = ...) -> None: ...

class LoadPolicyRequest(_message.Message):
    __slots__ = ["path", "policy_id"]
    PATH_FIELD_NUMBER: _ClassVar[int]
    POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    path: str
    policy_id: str
    def __init__(self, path: _Optional[str] = ..., policy_id: _Optional[str] = ...) -> None: ...

class LoadPolicyResponse(_message.Message):
    __slots__ = ["policy"]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: _action_pb2.PolicyVersion
    def __init__(self, policy: _Optional[_Union[_action_pb2.PolicyVersion, _Mapping]] = ...) -> None: ...

class RollBackPolicyRequest(_message.Message):
    __slots__ = ["policy"]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: _action_pb2.PolicyVersion
    def __init__(self, policy: _Optional[_Union[_action_pb2.PolicyVersion, _Mapping]] = ...) -> None: ...

class RollBackPolicyResponse(_message.Message):
    __slots__ = ["policy"]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: _action_pb2.PolicyVersion
    def __init__(self, policy: _Optional[_Union[_action_pb2.PolicyVersion, _Mapping]] = ...) -> None: ...
