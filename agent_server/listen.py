"""Addresses to listen on: checked before they are taken, so that two servers never share one by accident."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat

import grpc

from codriver.errors import AlreadyExistsError, InvalidArgumentError


def listen(server: grpc.aio.Server, address: str, allow_plaintext: bool = False) -> str:
    """Makes a server listen.

    Args:
        server: A gRPC server with ``grpc.so_reuseport`` off.
        address: ``HOST:PORT`` (port 0: any free one) or ``unix:PATH``.
        allow_plaintext: True: also beyond loopback, where anyone on the network can read and drive.

    Returns:
        The address to connect to, with the port that was taken.

    Raises:
        InvalidArgumentError: It is not an address, or not a local one.
        AlreadyExistsError: Somebody listens there.
    """
    if address.startswith("unix:"):
        return _listen_unix(server, address)
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise InvalidArgumentError(f"{address!r} is neither HOST:PORT nor unix:PATH", field="listen")
    if not allow_plaintext and not _is_loopback(host.strip("[]")):
        raise InvalidArgumentError(
            f"{address} can be reached from other machines, unencrypted and by anyone",
            field="listen",
            hint="Listen on 127.0.0.1, or add --allow-plaintext if you mean it.",
        )
    try:
        taken = server.add_insecure_port(address)
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


def _listen_unix(server: grpc.aio.Server, address: str) -> str:
    path = address[len("unix:") :]
    if path.startswith("//"):
        path = path[2:]
    if len(os.fsencode(path)) > 100:
        raise InvalidArgumentError(f"the socket path {path!r} is longer than 100 bytes", field="listen")
    if os.path.lexists(path):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise AlreadyExistsError(
                f"{path} exists and is no socket", reason="ADDRESS_IN_USE", field="listen"
            )
        if _answers(path):
            raise AlreadyExistsError(
                f"another server listens on {address}", reason="ADDRESS_IN_USE", field="listen"
            )
        os.unlink(path)  # left behind by a server that was killed
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError:
        raise InvalidArgumentError(
            f"cannot create the socket {path}",
            field="listen",
            hint="Does its folder exist, and may you write to it?",
        ) from None
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
