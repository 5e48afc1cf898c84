"""What can go wrong with a call to Triton, by name."""

from __future__ import annotations

import enum

import grpc
import grpc.aio


class TritonReason(enum.Enum):
    """Why a call failed."""

    UNREACHABLE = "unreachable"
    """Nothing answers at the address, or the connection broke. Worth another try."""
    TIMED_OUT = "timed_out"
    """No answer within the call's timeout."""
    NOT_LOADED = "not_loaded"
    """Triton has no such model, or it is not ready."""
    MODEL_ERROR = "model_error"
    """The model, or Triton on its behalf, refused or failed."""
    BAD_ANSWER = "bad_answer"
    """An answer came that does not keep the protocol: sizes, shapes, dtypes, missing tensors."""


class TritonError(Exception):
    """A call to Triton that failed.

    Attributes:
        reason: The name of what went wrong.
        detail: One line for people, at most 300 characters.
    """

    def __init__(self, reason: TritonReason, detail: str) -> None:
        self.reason = reason
        self.detail = one_line(detail)
        super().__init__(f"{reason.value}: {self.detail}")


# What Triton says, with status UNAVAILABLE like a broken connection, of models that it does not serve.
_NOT_SERVED = ("unknown model", "not ready", "no available versions", "not found")
_BAD = ("larger than max", "deserializ", "parsing")


def one_line(text: str, longest: int = 300) -> str:
    """A text as one line of at most ``longest`` characters."""
    line = " ".join(text[: 4 * longest].split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def from_rpc_error(error: grpc.aio.AioRpcError) -> TritonError:
    """The named error of a gRPC status."""
    code, detail = error.code(), error.details() or ""
    said = detail.lower()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        reason = TritonReason.TIMED_OUT
    elif code is grpc.StatusCode.NOT_FOUND:
        reason = TritonReason.NOT_LOADED
    elif code is grpc.StatusCode.UNAVAILABLE:
        served = not any(words in said for words in _NOT_SERVED)
        reason = TritonReason.UNREACHABLE if served else TritonReason.NOT_LOADED
    elif any(words in said for words in _BAD) and code in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
    ):
        reason = TritonReason.BAD_ANSWER
    elif code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.CANCELLED):
        reason = TritonReason.UNREACHABLE
        detail = detail or "the call was cut"
    else:
        reason = TritonReason.MODEL_ERROR
    return TritonError(reason, detail or code.name)
