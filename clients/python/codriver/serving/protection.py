"""Who may call a server, as options of its command: TLS, client certificates, tokens."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple

import grpc
import grpc.aio

from codriver.errors import InvalidArgumentError
from codriver.serving.tls import ServerCertificate
from codriver.serving.tokens import Role, TokenFile, TokenInterceptor

IN_FILES = {"tls_cert": "", "tls_key": "", "tls_client_ca": "", "tokens": "", "allow_plaintext": False}
"""The options as a configuration file may hold them; see ``codriver.serving.config_file``."""


class Protection(NamedTuple):
    """How the listeners of a server are protected. Unset: by being reachable from this machine only.

    Attributes:
        tls_cert: PEM file with the server's certificate chain; None: no TLS.
        tls_key: PEM file with its private key.
        tls_client_ca: PEM file with the roots of client certificates; None: clients need none.
        tokens: File with tokens and their roles; None: everyone who can connect may call.
        allow_plaintext: True: listen beyond this machine without TLS, too.
    """

    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    allow_plaintext: bool = False

    def credentials(self) -> grpc.ServerCredentials | None:
        """TLS for ``codriver.serving.listen.listen``; None: plain.

        Raises:
            InvalidArgumentError: The files cannot be used.
        """
        if self.tls_cert is None or self.tls_key is None:
            if self.tls_cert or self.tls_key or self.tls_client_ca:
                raise InvalidArgumentError(
                    "TLS needs a certificate and its key", field="tls_cert" if self.tls_key else "tls_key"
                )
            return None
        return ServerCertificate(self.tls_cert, self.tls_key, self.tls_client_ca).credentials()

    def interceptors(self, needs: Mapping[str, Role]) -> List[grpc.aio.ServerInterceptor[Any, Any]]:
        """Interceptors for ``grpc.aio.server``.

        Args:
            needs: Role by method (``/package.Service/Method``); what is not named needs ``Role.ADMIN``.

        Raises:
            InvalidArgumentError: The file of tokens cannot be used.
        """
        return [] if self.tokens is None else [TokenInterceptor(TokenFile(self.tokens), needs)]


def add_protection_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options ``--tls-cert``, ``--tls-key``, ``--tls-client-ca``, ``--tokens``, ``--allow-plaintext``."""
    group = parser.add_argument_group("who may call")
    group.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM); renewed in place"
    )
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    group.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE", help="want client certificates of these roots (PEM)"
    )
    group.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="want a bearer token; a role (read, drive, admin) and one a line",
    )
    group.add_argument(
        "--allow-plaintext",
        action="store_true",
        default=None,
        help="listen beyond this machine without TLS, too",
    )


def protection_of(file: Mapping[str, Any], arguments: argparse.Namespace) -> Protection:
    """The protection that a configuration file's options and, over them, the command line's name.

    Args:
        file: Options of the file by name; others than ours are passed over.
        arguments: What :func:`add_protection_options` parsed.
    """
    found: Dict[str, Any] = {}
    for name in ("tls_cert", "tls_key", "tls_client_ca", "tokens"):
        value = getattr(arguments, name)
        value = file.get(name) if value is None else value
        if value is not None:
            found[name] = Path(value)
    allow = arguments.allow_plaintext or file.get("allow_plaintext", False)
    return Protection(allow_plaintext=bool(allow), **found)
