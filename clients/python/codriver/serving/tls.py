"""TLS from PEM files: a server's certificate, renewed without a restart, and what a client needs to trust it."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Any, Tuple

import grpc

from codriver.errors import InvalidArgumentError

_log = logging.getLogger(__name__)

Stamp = Tuple[Tuple[int, int, int], ...]


class ServerCertificate:
    """Certificate and key of a server, read again when the files change.

    gRPC asks at each new connection; connections that exist keep what they were made with.

    Args:
        certificate: PEM file with the certificate and what stands between it and a root.
        key: PEM file with its private key, not encrypted.
        client_ca: PEM file with the roots of client certificates; None: clients need none.

    Raises:
        InvalidArgumentError: A file cannot be read, or key and certificate do not belong together.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._stamp = self._now()
        self._configuration = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """For ``codriver.serving.listen.listen``."""
        renewed: Any = self._renewed  # the stubs do not know that None means no change
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._configuration, renewed, require_client_authentication=self._client_ca is not None
        )
        return credentials

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration; None when the files are as before, or not whole: the old one goes on."""
        stamp = self._now(missing_ok=True)
        if stamp == self._stamp:
            return None
        try:
            configuration = self._read()
        except InvalidArgumentError as error:
            # not remembered: files that are replaced one after the other fit together a moment later
            _log.warning("the new TLS certificate is not used: %s", error)
            return None
        if self._now(missing_ok=True) != stamp:
            return None
        self._stamp, self._configuration = stamp, configuration
        _log.info("TLS certificate renewed from %s", self._certificate)
        return configuration

    def _read(self) -> grpc.ServerCertificateConfiguration:
        key, chain = _content(self._key, "tls_key"), _content(self._certificate, "tls_cert")
        roots = None if self._client_ca is None else _content(self._client_ca, "tls_client_ca")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # without the password function, an encrypted key would be asked for on the terminal
            context.load_cert_chain(str(self._certificate), str(self._key), password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise InvalidArgumentError(
                f"{self._certificate} and {self._key} are no certificate with its key: {why}",
                field="tls_cert",
                hint="Both are PEM; the key is not encrypted and belongs to the first certificate.",
            ) from None
        if self._client_ca is not None:
            check_roots(self._client_ca, "tls_client_ca")
        configuration: grpc.ServerCertificateConfiguration = grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=roots
        )
        return configuration

    def _now(self, missing_ok: bool = False) -> Stamp:
        found = []
        for path in (self._certificate, self._key, self._client_ca):
            if path is None:
                continue
            try:
                status = os.stat(path)
            except OSError:
                if not missing_ok:
                    continue  # reading it says so better
                return ()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)


def check_roots(path: Path, field: str) -> None:
    """Checks that a PEM file holds certificates.

    Raises:
        InvalidArgumentError: It does not.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(str(path))
    except (ssl.SSLError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        raise InvalidArgumentError(f"{path} holds no certificates: {why}", field=field) from None


def channel_credentials(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """What a client needs for a TLS server.

    Args:
        ca: PEM file with the roots that it trusts; None: those that gRPC brings.
        certificate: PEM file with the client's own certificate, where the server wants one.
        key: Its private key.

    Raises:
        InvalidArgumentError: A file cannot be read, or one of certificate and key is missing.
    """
    if (certificate is None) != (key is None):
        raise InvalidArgumentError("a client certificate and its key come together", field="tls_cert")
    if ca is not None:
        check_roots(ca, "tls_ca")
    credentials: grpc.ChannelCredentials = grpc.ssl_channel_credentials(
        root_certificates=None if ca is None else _content(ca, "tls_ca"),
        private_key=None if key is None else _content(key, "tls_key"),
        certificate_chain=None if certificate is None else _content(certificate, "tls_cert"),
    )
    return credentials


def _content(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {path}: {error.strerror}", field=field) from None
