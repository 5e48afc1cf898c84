"""Errors of codriver: every one has a reason for programs, a field at fault, and a hint for people.

The same classes are raised by the codecs, by the clients (from a gRPC status) and by servers (into a gRPC
status; ``codriver.rpc_status`` translates), so that an error means the same on both ends of the wire. See
docs/protocol.md, "Errors".
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Sequence, Tuple, Type

DOMAIN = "codriver.v1"
"""Domain of every ``google.rpc.ErrorInfo`` that codriver sends."""

MAX_TEXT = 800
"""Longest message or hint, as gRPC counts: answers whose metadata exceed 8 KiB are dropped, and each byte of a
character beyond ASCII counts three."""


class Violation(NamedTuple):
    """One field at fault: its path, as in ``observation_spec.tensors[0].palettes[2]``, and what is wrong with it."""

    field: str
    description: str


class CodriverError(Exception):
    """Base class of all errors of codriver.

    Args:
        message: One line: what happened.
        reason: Name for programs, upper snake case, as in ``google.rpc.ErrorInfo.reason``. Empty: the class's own.
        field: Path of the field at fault. Empty: none in particular.
        hint: One line: what to do about it. May be empty.
        violations: Every field at fault, where there may be several.
        retry_after_s: When trying again may help, in seconds; None: it does not by itself.

    Attributes:
        status_name: Name of the gRPC status code that stands for the class.
    """

    status_name = "UNKNOWN"
    default_reason = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        hint: str = "",
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = _one_line(message)
        self.reason = reason or self.default_reason
        self.violations: Tuple[Violation, ...] = tuple(Violation(*violation) for violation in violations)
        self.field = field or (self.violations[0].field if self.violations else "")
        self.hint = _one_line(hint)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        text = self.message
        if self.field and self.field not in text:
            text = f"{self.field}: {text}"
        if self.hint and self.hint not in text:
            text = f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {self.hint}"
        return text


class InvalidArgumentError(CodriverError):
    """A request or a value is wrong in itself; sending it again fails again."""

    status_name = "INVALID_ARGUMENT"
    default_reason = "INVALID_ARGUMENT"


class SpecError(InvalidArgumentError):
    """An observation or action spec is not valid; ``violations`` names every field at fault."""

    default_reason = "INVALID_SPEC"


class TensorError(InvalidArgumentError):
    """A tensor does not fit its spec, or its bytes do not decode. ``field`` is ``tensors[NAME]``."""

    default_reason = "MALFORMED_TENSOR"


class NotFiniteError(TensorError):
    """A tensor holds NaN or infinity."""

    default_reason = "NOT_FINITE"


class FailedPreconditionError(CodriverError):
    """The request is fine, but not in this state (second attach, a policy that cannot do it)."""

    status_name = "FAILED_PRECONDITION"
    default_reason = "FAILED_PRECONDITION"


class SpecMismatchError(FailedPreconditionError):
    """The policy was trained on another spec; ``violations`` names every difference."""

    default_reason = "SPEC_MISMATCH"


class NotFoundError(CodriverError):
    """There is no such policy or session."""

    status_name = "NOT_FOUND"
    default_reason = "NOT_FOUND"


class SessionLostError(NotFoundError):
    """The server does not know the session (it restarted, or the session was idle too long): open a new one."""

    default_reason = "SESSION_LOST"


class AlreadyExistsError(CodriverError):
    """The session, stream or key exists already."""

    status_name = "ALREADY_EXISTS"
    default_reason = "ALREADY_EXISTS"


class PermissionDeniedError(CodriverError):
    """The resume token does not belong to the session."""

    status_name = "PERMISSION_DENIED"
    default_reason = "PERMISSION_DENIED"


class UnauthenticatedError(CodriverError):
    """The server wants credentials that the call did not bring."""

    status_name = "UNAUTHENTICATED"
    default_reason = "UNAUTHENTICATED"


class ResourceExhaustedError(CodriverError):
    """A limit is reached: message size, rows, sessions, credits."""

    status_name = "RESOURCE_EXHAUSTED"
    default_reason = "RESOURCE_EXHAUSTED"


class UnavailableError(CodriverError):
    """The server is not there, or is stopping."""

    status_name = "UNAVAILABLE"
    default_reason = "UNAVAILABLE"


class DeadlineExceededError(CodriverError):
    """No answer in time; the message names what was waited for."""

    status_name = "DEADLINE_EXCEEDED"
    default_reason = "DEADLINE_EXCEEDED"


class CancelledError(CodriverError):
    """The call was cancelled, by this side or the other."""

    status_name = "CANCELLED"
    default_reason = "CANCELLED"


class AbortedError(CodriverError):
    """The call gave way to another one."""

    status_name = "ABORTED"
    default_reason = "ABORTED"


class UnimplementedError(CodriverError):
    """The server does not know this call: it is another server, or an older one."""

    status_name = "UNIMPLEMENTED"
    default_reason = "UNIMPLEMENTED"


class InternalError(CodriverError):
    """A fault of the program, not of its caller."""

    status_name = "INTERNAL"
    default_reason = "INTERNAL"


class FrameFailedError(CodriverError):
    """Rows of a batch got no action; ``rows`` maps a row's index to its ``FrameError`` reason and detail."""

    status_name = "ABORTED"
    default_reason = "FRAME_ERROR"

    def __init__(
        self, message: str, *, rows: Dict[int, Tuple[str, str]], reason: str = "", field: str = ""
    ) -> None:
        super().__init__(message, reason=reason, field=field)
        self.rows = rows


_SPECIAL: Tuple[Type[CodriverError], ...] = (
    SpecError,
    TensorError,
    NotFiniteError,
    SpecMismatchError,
    SessionLostError,
)
_BY_STATUS: Dict[str, Type[CodriverError]] = {
    error.status_name: error
    for error in (
        InvalidArgumentError,
        FailedPreconditionError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        UnauthenticatedError,
        ResourceExhaustedError,
        UnavailableError,
        DeadlineExceededError,
        CancelledError,
        AbortedError,
        UnimplementedError,
        InternalError,
    )
}
_BY_REASON = {error.default_reason: error for error in _SPECIAL}


def error_class(status_name: str, reason: str = "") -> Type[CodriverError]:
    """The class for a gRPC status code's name and an ``ErrorInfo`` reason; ``CodriverError`` where there is none."""
    special = _BY_REASON.get(reason)
    if special is not None and special.status_name == status_name:
        return special
    return _BY_STATUS.get(status_name, CodriverError)


def _one_line(text: str) -> str:
    """The text without line breaks, cut to ``MAX_TEXT``."""
    text, room = " ".join(text.split())[:MAX_TEXT], MAX_TEXT
    if text.encode("utf-8", "replace") == text.encode("ascii", "replace"):
        return text
    for index, character in enumerate(text):
        room -= 1 if character < "\x7f" else 3 * len(character.encode("utf-8", "replace"))
        if room < 0:
            return text[:index]
    return text
