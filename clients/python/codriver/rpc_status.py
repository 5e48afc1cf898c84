"""Errors to and from gRPC: ``google.rpc.Status`` with ``ErrorInfo``, ``BadRequest`` and ``RetryInfo``.

The messages live in a descriptor pool of their own, so that the wheel needs no ``googleapis-common-protos`` and
cannot collide with one that is installed. On the wire they are the messages of ``google/rpc/*.proto``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Dict, List, Tuple, Type

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from codriver.errors import (
    DOMAIN,
    CodriverError,
    DeadlineExceededError,
    UnavailableError,
    Violation,
    error_class,
)

if TYPE_CHECKING:
    import grpc

METADATA_KEY = "grpc-status-details-bin"
TYPE_PREFIX = "type.googleapis.com/google.rpc."
HINT_KEY = "hint"
FIELD_KEY = "field"
_MAX_DETAILS_BYTES = 3000
"""gRPC drops responses whose metadata exceeds 8 KiB: longer lists of violations are cut."""

_STRING, _INT32, _INT64, _BYTES, _MESSAGE = 9, 5, 3, 12, 11
_LAYOUT: Dict[str, List[Tuple[str, int, int, str, bool]]] = {
    "Any": [("type_url", 1, _STRING, "", False), ("value", 2, _BYTES, "", False)],
    "Status": [
        ("code", 1, _INT32, "", False),
        ("message", 2, _STRING, "", False),
        ("details", 3, _MESSAGE, "Any", True),
    ],
    "Entry": [("key", 1, _STRING, "", False), ("value", 2, _STRING, "", False)],
    "ErrorInfo": [
        ("reason", 1, _STRING, "", False),
        ("domain", 2, _STRING, "", False),
        # A map is on the wire a repeated message of key and value.
        ("metadata", 3, _MESSAGE, "Entry", True),
    ],
    "FieldViolation": [("field", 1, _STRING, "", False), ("description", 2, _STRING, "", False)],
    "BadRequest": [("field_violations", 1, _MESSAGE, "FieldViolation", True)],
    "Duration": [("seconds", 1, _INT64, "", False), ("nanos", 2, _INT32, "", False)],
    "RetryInfo": [("retry_delay", 1, _MESSAGE, "Duration", False)],
}


@lru_cache(maxsize=None)
def _classes() -> Dict[str, Type[Message]]:
    package = "codriver.private.rpc"
    file = descriptor_pb2.FileDescriptorProto(
        name="codriver/private/rpc.proto", package=package, syntax="proto3"
    )
    for name, fields in _LAYOUT.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind, type_name, repeated in fields:
            message.field.add(
                name=field_name,
                number=number,
                type=kind,
                label=3 if repeated else 1,
                type_name=f".{package}.{type_name}" if type_name else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = {}
    for name in _LAYOUT:
        descriptor = pool.FindMessageTypeByName(f"{package}.{name}")
        if hasattr(message_factory, "GetMessageClass"):
            found[name] = message_factory.GetMessageClass(descriptor)
        else:  # protobuf before 4.22
            factory: Any = message_factory.MessageFactory(pool)
            found[name] = factory.GetPrototype(descriptor)
    return found


def status_code(error: CodriverError) -> grpc.StatusCode:
    """The gRPC status code for an error."""
    import grpc

    code: grpc.StatusCode = grpc.StatusCode[error.status_name]
    return code


def status_details(error: CodriverError) -> Tuple[Tuple[str, bytes], ...]:
    """Trailing metadata (``grpc-status-details-bin``) that carries an error's details to the client.

    A server ends a call with
    ``await context.abort(status_code(error), str(error), trailing_metadata=status_details(error))``.
    """
    classes = _classes()
    details: List[Tuple[str, Any]] = []
    info: Any = classes["ErrorInfo"](reason=error.reason, domain=DOMAIN)
    for key, value in ((HINT_KEY, error.hint), (FIELD_KEY, error.field)):
        if value:
            info.metadata.add(key=key, value=_cut(value, 400))
    details.append(("ErrorInfo", info))
    if error.retry_after_s is not None:
        retry: Any = classes["RetryInfo"]()
        retry.retry_delay.seconds = int(error.retry_after_s)
        retry.retry_delay.nanos = int(error.retry_after_s % 1 * 1e9)
        details.append(("RetryInfo", retry))
    if error.violations:
        bad: Any = classes["BadRequest"]()
        for violation in error.violations:
            field, description = _cut(violation.field, 200), _cut(violation.description, 500)
            if bad.ByteSize() + len(field.encode()) + len(description.encode()) > _MAX_DETAILS_BYTES:
                break
            bad.field_violations.add(field=field, description=description)
        details.append(("BadRequest", bad))
    code = int(status_code(error).value[0])
    status: Any = classes["Status"](code=code, message=_cut(str(error), 200))
    for name, detail in details:
        status.details.add(type_url=TYPE_PREFIX + name, value=detail.SerializeToString())
    return ((METADATA_KEY, status.SerializeToString()),)


def from_rpc_error(error: grpc.RpcError, waiting_for: str = "") -> CodriverError:
    """Turns a failed gRPC call into an exception of ``codriver.errors``.

    Args:
        error: What gRPC raised; needs ``code()``, ``details()`` and ``trailing_metadata()``.
        waiting_for: What the caller was doing, for the message of timeouts and lost connections.

    Returns:
        The exception to raise, with reason, field, hint, violations and retry delay where the server sent them.
    """
    call: Any = error
    code = call.code() if callable(getattr(call, "code", None)) else None
    name = getattr(code, "name", "UNKNOWN")
    message = (call.details() if callable(getattr(call, "details", None)) else "") or str(error)
    found = _details(call)
    reason, hint, field = _error_info(found)
    retry = found.get("RetryInfo")
    violations = (
        [Violation(v.field, v.description) for v in found["BadRequest"].field_violations]
        if "BadRequest" in found
        else []
    )
    kind = error_class(name, reason)
    if not reason and waiting_for:
        if kind is DeadlineExceededError:
            message, hint = (
                f"no answer in time while waiting for {waiting_for}",
                "Raise timeout_s, or look at the server.",
            )
        elif kind is UnavailableError:
            message = f"lost the server, or never reached it, while waiting for {waiting_for} ({message})"
            hint = "Is it running, and is the address right?"
    return kind(
        message,
        reason=reason,
        field=field,
        hint=hint,
        violations=violations,
        retry_after_s=retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        if retry is not None
        else None,
    )


def _cut(text: str, limit: int) -> str:
    """The beginning of a text that is at most so many bytes in UTF-8."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def _details(call: Any) -> Dict[str, Any]:
    """The messages in the call's trailing metadata by name; the first of each. Bytes that do not parse are ignored."""
    metadata = call.trailing_metadata() if callable(getattr(call, "trailing_metadata", None)) else None
    found: Dict[str, Any] = {}
    for key, value in metadata or ():
        if key != METADATA_KEY:
            continue
        try:
            status: Any = _classes()["Status"].FromString(value)
            for detail in status.details:
                name = detail.type_url[len(TYPE_PREFIX) :]
                if detail.type_url.startswith(TYPE_PREFIX) and name in _LAYOUT and name not in found:
                    found[name] = _classes()[name].FromString(detail.value)
        except DecodeError:
            return {}
    return found


def _error_info(found: Dict[str, Any]) -> Tuple[str, str, str]:
    info = found.get("ErrorInfo")
    if info is None or info.domain != DOMAIN:
        return "", "", ""
    facts = {entry.key: entry.value for entry in info.metadata}
    return info.reason, facts.get(HINT_KEY, ""), facts.get(FIELD_KEY, "")
