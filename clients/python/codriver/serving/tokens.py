"""Bearer tokens with roles, from a file that is read again when it changes.

One token a line, after the role that it has; ``#`` begins a comment. In place of a token, its hash may stand, so that
the file gives nothing away (``printf %s TOKEN | sha256sum``)::

    drive  the-simulators-7Yw0cJ2rXa
    admin  sha256:5f0d4b1e...64 hex digits
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import stat
from enum import IntEnum
from pathlib import Path
from typing import Any, Awaitable, Callable, List, Mapping, Tuple

import grpc
import grpc.aio

from codriver.errors import CodriverError, InvalidArgumentError, PermissionDeniedError, UnauthenticatedError
from codriver.serving.status import abort

_log = logging.getLogger(__name__)

MIN_TOKEN_CHARACTERS = 16
_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})\Z")
_OPEN = ("/grpc.health.v1.Health/",)
"""Whoever watches a server need not be able to use it."""


class Role(IntEnum):
    """What a token may do; each role includes those before it."""

    READ = 1
    """Ask what a server is."""
    DRIVE = 2
    """Use it: sessions, drives, feedback."""
    ADMIN = 3
    """Change it: policies, models, its end."""


class TokenFile:
    """The tokens of a file.

    Raises:
        InvalidArgumentError: The file cannot be read, or a line of it is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: Tuple[int, int, int] | None = None
        self._tokens: List[Tuple[bytes, Role]] = []
        self._load(os.stat(path) if path.exists() else None)

    def role(self, token: str) -> Role | None:
        """The role of a token; None: it is not in the file. Takes the same time for every token."""
        self._refresh()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found: Role | None = None
        for known, role in self._tokens:
            if hmac.compare_digest(known, digest):
                found = role
        return found

    def _refresh(self) -> None:
        """Reads the file again if it changed; one that cannot be used leaves the old tokens in force."""
        try:
            status = os.stat(self._path)
            if _stamp(status) != self._stamp:
                self._load(status)
                _log.info("%d tokens from %s", len(self._tokens), self._path)
        except (OSError, InvalidArgumentError) as error:
            if self._stamp is not None:
                _log.error("the tokens as they were stay in force: %s", error)
            self._stamp = None

    def _load(self, status: os.stat_result | None) -> None:
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise InvalidArgumentError(f"cannot read {self._path}: {why}", field="tokens") from None
        self._tokens = parse_tokens(text, str(self._path))
        self._stamp = None if status is None else _stamp(status)
        if status is not None and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            _log.warning("%s is open to other users of this machine; chmod 600 it", self._path)


def parse_tokens(text: str, name: str) -> List[Tuple[bytes, Role]]:
    """The tokens in a file's text.

    Args:
        text: The file's content.
        name: Its name, for errors. Tokens are never part of one.

    Returns:
        SHA-256 of each token, and its role.

    Raises:
        InvalidArgumentError: A line is none of ours, or there is no token.
    """
    found: List[Tuple[bytes, Role]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if not words:
            continue
        where = f"{name}, line {number}"
        if len(words) != 2 or words[0].upper() not in Role.__members__:
            raise InvalidArgumentError(
                f"{where}: it must be a role (read, drive, admin) and a token", field="tokens"
            )
        role, token = Role[words[0].upper()], words[1]
        hashed = _HASH.match(token)
        if hashed is None and (token.startswith("sha256:") or len(token) < MIN_TOKEN_CHARACTERS):
            raise InvalidArgumentError(
                f"{where}: a token has at least {MIN_TOKEN_CHARACTERS} characters, or is sha256: and 64 hex digits",
                field="tokens",
                hint="`openssl rand -hex 24` makes one.",
            )
        digest = hashlib.sha256(token.encode()).digest() if hashed is None else bytes.fromhex(hashed.group(1))
        found.append((digest, role))
    if not found:
        raise InvalidArgumentError(f"{name} holds no token, so nobody could call", field="tokens")
    return found


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # no generic at run time
    """Lets calls through by their token's role; health checks always.

    A call is checked when it begins: a stream outlives the token that it began with.

    Args:
        tokens: Who has which role.
        needs: Role by method (``/package.Service/Method``); what is not named needs ``ADMIN``.
    """

    def __init__(self, tokens: TokenFile, needs: Mapping[str, Role]) -> None:
        self._tokens, self._needs = tokens, dict(needs)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The method's own handler, or one that refuses."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_OPEN):
            return handler
        error = self._refusal(method, handler_call_details.invocation_metadata or ())
        return handler if error is None else _refusing(handler, error)

    def _refusal(self, method: str, metadata: Any) -> CodriverError | None:
        sent = [value for key, value in metadata if key == "authorization"]
        scheme, _, token = (sent[0] if len(sent) == 1 and isinstance(sent[0], str) else "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return UnauthenticatedError(
                "the call brings no token",
                reason="TOKEN_MISSING",
                hint="Send the metadata `authorization: Bearer TOKEN`.",
            )
        role = self._tokens.role(token.strip())
        if role is None:
            return UnauthenticatedError("the server does not know this token", reason="TOKEN_UNKNOWN")
        need = self._needs.get(method, Role.ADMIN)
        if role < need:
            return PermissionDeniedError(
                f"{method} needs the role {need.name.lower()}; this token has {role.name.lower()}",
                reason="ROLE_TOO_LOW",
            )
        return None


def _refusing(handler: Any, error: CodriverError) -> Any:
    """A handler of the same shape that ends every call with an error, before a stream's first message."""

    async def refuse(request: Any, context: Any) -> None:
        await abort(context, error)

    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return kinds[handler.request_streaming, handler.response_streaming](refuse)


def _stamp(status: os.stat_result) -> Tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
