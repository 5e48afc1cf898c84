"""Errors of codriver as gRPC statuses."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from codriver.errors import CodriverError, InternalError, InvalidArgumentError
from codriver.rpc_status import status_code, status_details

_log = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the stubs
"""What reading from a stream answers when the client is done sending."""

Handler: TypeAlias = "grpc.GenericRpcHandler[Any, Any]"
Method = Callable[[Any, Context], Awaitable[Any]]


async def abort(context: Context, error: CodriverError) -> NoReturn:
    """Ends a call with an error and its details."""
    await context.abort(status_code(error), str(error), trailing_metadata=status_details(error))
    raise AssertionError("unreachable")


def unary(method: Method, kind: Any) -> Method:
    """Makes a unary method one from bytes, its :class:`CodriverError` the call's status, any other fault INTERNAL."""

    async def call(message: bytes, context: Context) -> Any:
        try:
            return await method(parse(message, kind), context)
        except CodriverError as error:
            found: CodriverError = error
        except (grpc.RpcError, grpc.aio.BaseError):
            raise
        except Exception as error:  # noqa: BLE001 - the caller gets a status, the log gets the trace
            found = internal(error)
        return await abort(context, found)

    return call


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


def unary_handlers(service: str, methods: dict[str, tuple[Method, Any]], **others: Any) -> Handler:
    """Unary methods, each with its request's message class, and ready-made handlers, as a service by name."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            unary(method, request),
            response_serializer=lambda response: response.SerializeToString(),
        )
        for name, (method, request) in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, {**handlers, **others})
