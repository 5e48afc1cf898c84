"""Addresses to listen on: checked before they are taken, so that two servers never share one by accident."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from typing import TYPE_CHECKING, Any, Tuple

from codriver.errors import AlreadyExistsError, InvalidArgumentError

if TYPE_CHECKING:
    import grpc


def listen(
    server: Any,
    address: str,
    *,
    credentials: grpc.ServerCredentials | None = None,
    allow_plaintext: bool = False,
) -> str:
    """Makes a server listen.

    A unix socket is always plain: only this machine reaches it, and only its owner may open it (mode 0600).

    Args:
        server: A gRPC server, of ``grpc.aio`` or of ``grpc``, with ``grpc.so_reuseport`` off.
        address: ``HOST:PORT`` (port 0: any free one) or ``unix:PATH``.
        credentials: TLS for ``HOST:PORT``; None: plain.
        allow_plaintext: True: plain beyond loopback too, where anyone on the network can listen in.

    Returns:
        The address to connect to, with the port that was taken.

    Raises:
        InvalidArgumentError: It is not an address, or not a local one and plain.
        AlreadyExistsError: Somebody listens there.
    """
    if address.startswith("unix:"):
        return _listen_unix(server, address)
    host, _ = host_and_port(address, credentials is not None or allow_plaintext)
    try:
        if credentials is None:
            taken = server.add_insecure_port(address)
        else:
            taken = server.add_secure_port(address, credentials)
    except RuntimeError:
        taken = 0
    if not taken:
        raise AlreadyExistsError(
            f"cannot listen on {address}: the port is taken, or the host is not this machine's",
            reason="ADDRESS_IN_USE",
            field="listen",
            hint="Stop the other program, or choose another port (0 takes a free one).",
        )
    return f"{host}:{taken}"


def host_and_port(address: str, anywhere: bool = False) -> Tuple[str, int]:
    """The parts of ``HOST:PORT``.

    Args:
        address: To listen on.
        anywhere: True: other machines may reach it; False: this machine only.

    Raises:
        InvalidArgumentError: It is not such an address, or others can reach it.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise InvalidArgumentError(
            f"{address!r} is not an address: neither HOST:PORT nor unix:PATH", field="listen"
        )
    if not anywhere and not is_loopback(host.strip("[]")):
        raise InvalidArgumentError(
            f"{address} can be reached from other machines, and nothing would be encrypted",
            field="listen",
            hint="Listen on 127.0.0.1, use TLS, or say so if you mean it (--allow-plaintext, allow_plaintext=True).",
        )
    return host, int(port)


def _listen_unix(server: Any, address: str) -> str:
    path = address[len("unix:") :]
    if path.startswith("//"):
        path = path[2:]
    if not 0 < len(os.fsencode(path)) <= 100:
        raise InvalidArgumentError(f"the socket path {path!r} is not 1 to 100 bytes long", field="listen")
    if os.path.lexists(path):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise AlreadyExistsError(
                f"{path} exists and is no socket", reason="ADDRESS_IN_USE", field="listen"
            )
        if _answers(path):
            raise AlreadyExistsError(
                f"cannot listen on {address}: another server listens there",
                reason="ADDRESS_IN_USE",
                field="listen",
            )
        os.unlink(path)  # left behind by a server that was killed
    try:
        taken = server.add_insecure_port(f"unix:{path}")
    except RuntimeError:
        taken = 0
    if not taken:
        raise InvalidArgumentError(
            f"cannot create the socket {path}",
            field="listen",
            hint="Does its folder exist, and may you write to it?",
        )
    os.chmod(path, 0o600)
    return f"unix:{path}"


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address is this machine, and no network in between."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
