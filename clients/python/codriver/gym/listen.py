"""Where ``RemoteEnv`` listens: loopback and unix sockets, unless told otherwise."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import TYPE_CHECKING

from codriver import connection
from codriver.errors import AlreadyExistsError, InvalidArgumentError

if TYPE_CHECKING:
    import grpc


def listen_on(server: grpc.Server, address: str, allow_plaintext: bool = False) -> str:
    """Makes a server listen.

    Args:
        server: A gRPC server with ``grpc.so_reuseport`` off.
        address: ``HOST:PORT`` (port 0: any free one) or ``unix:PATH``.
        allow_plaintext: True: also beyond loopback, where anyone on the network can connect.

    Returns:
        The address to connect to, with the port that was taken.

    Raises:
        InvalidArgumentError: It is not an address, or not a local one.
        AlreadyExistsError: Somebody listens there.
    """
    host, _, port = address.rpartition(":")
    unix = address.startswith("unix:") and len(address) > len("unix:")
    if not unix:
        connection.target(f"{host}:{1 if port == '0' else port}")
        if not allow_plaintext and not _is_loopback(host.strip("[]")):
            raise InvalidArgumentError(
                f"{address} can be reached from other machines, unencrypted and by anyone",
                field="listen",
                hint="Listen on 127.0.0.1, or pass allow_plaintext=True if you mean it.",
            )
    # gRPC takes a unix socket over from whoever listens there
    taken = unix and _answers(address[len("unix:") :])
    try:
        bound = 0 if taken else server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise AlreadyExistsError(
            f"cannot listen on {address}: it is taken, or not an address of this machine",
            reason="ADDRESS_IN_USE",
            field="listen",
        )
    if unix:
        os.chmod(address[len("unix:") :], 0o600)
        return address
    return f"{host}:{bound}"


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
