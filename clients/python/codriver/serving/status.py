"""Calls of asyncio servers: bytes to messages, and errors of codriver to gRPC statuses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, NoReturn, Tuple

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from codriver.errors import CodriverError, InternalError, InvalidArgumentError
from codriver.rpc_status import status_code, status_details

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

_log = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the stubs
"""What reading from a stream answers when the client is done sending."""

Handler: TypeAlias = "grpc.GenericRpcHandler[Any, Any]"
Method = Callable[[Any, Any], Awaitable[Any]]


async def abort(context: Context, error: CodriverError) -> NoReturn:
    """Ends a call with an error and its details."""
    await context.abort(status_code(error), str(error), trailing_metadata=status_details(error))
    raise AssertionError("unreachable")


def unary(method: Method, kind: Any) -> Method:
    """Makes a unary method one from bytes, its :class:`CodriverError` the call's status, any other fault INTERNAL."""

    async def run(message: bytes, context: Context) -> Any:
        return await method(parse(message, kind), context)

    async def call(message: bytes, context: Context) -> Any:
        return await answered(run(message, context), context)

    return call


async def answered(call: Awaitable[Any], context: Context) -> Any:
    """Awaits a call; its :class:`CodriverError` becomes the status, any other fault INTERNAL."""
    try:
        return await call
    except CodriverError as error:
        found: CodriverError = error
    except (grpc.RpcError, grpc.aio.BaseError):
        raise
    except Exception as error:  # noqa: BLE001 - the caller gets a status, the log gets the trace
        found = internal(error)
    return await abort(context, found)


def parse(message: bytes, kind: Any) -> Any:
    """A message of a class from bytes.

    Raises:
        InvalidArgumentError: The bytes are none.
    """
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InvalidArgumentError(
            f"a message of {len(message)} bytes is no {kind.DESCRIPTOR.name}",
            reason="MALFORMED_MESSAGE",
            hint="Use stubs of protos/codriver/v1.",
        ) from None


def internal(error: Exception) -> InternalError:
    """A fault of the server, logged with its trace."""
    _log.error("a call failed", exc_info=error)
    return InternalError(f"the server failed: {type(error).__name__}", hint="Its log has the trace.")


def unary_handlers(service: str, methods: Dict[str, Tuple[Method, Any]], **others: Any) -> Handler:
    """Unary methods, each with its request's message class, and ready-made handlers, as a service by name."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            unary(method, request),
            response_serializer=lambda response: response.SerializeToString(),
        )
        for name, (method, request) in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, {**handlers, **others})
