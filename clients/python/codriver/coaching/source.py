"""Where a feedback service is and how to be let in: what the options ``--feedback...`` of several verbs say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List

import grpc

from codriver.connection import target
from codriver.errors import InvalidArgumentError
from codriver.serving.listen import is_loopback
from codriver.serving.tls import channel_credentials


@dataclass(frozen=True)
class FeedbackSource:
    """Where the feedback service is, and how to be let in.

    Attributes:
        address: ``HOST:PORT`` or ``unix:PATH``.
        tls_ca: PEM file with the roots that its certificate comes from; None: a plain connection.
        token: File whose first line is the bearer token; None: none is sent. Read again for each connection.
        tls_cert: PEM file with our own certificate, where the service wants one.
        tls_key: PEM file with its private key.
    """

    address: str
    tls_ca: Path | None = None
    token: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def check(self) -> None:
        """Checks what can be said before a connection is made, without a look at the files.

        Raises:
            InvalidArgumentError: It cannot be used; the field is the option's name.
        """
        target(self.address)
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "feedback_tls_cert" if self.tls_cert is None else "feedback_tls_key"
            raise InvalidArgumentError("a client certificate and its key come together", field=missing)
        if self.tls_ca is not None:
            return
        if self.tls_cert is not None:
            raise InvalidArgumentError(
                "a client certificate is shown over TLS alone",
                field="feedback_tls_ca",
                hint="Name the roots of the service's certificate with --feedback-tls-ca.",
            )
        local = self.address.startswith("unix:") or is_loopback(self.address.rpartition(":")[0].strip("[]"))
        if self.token is not None and not local:
            raise InvalidArgumentError(
                f"the token would go to {self.address} unencrypted",
                field="feedback_token",
                hint="Name the roots of its certificate with --feedback-tls-ca.",
            )

    def options(self) -> List[str]:
        """What ``codriver serve`` is told of it."""
        given = {
            "--feedback": self.address,
            "--feedback-tls-ca": self.tls_ca,
            "--feedback-token": self.token,
            "--feedback-tls-cert": self.tls_cert,
            "--feedback-tls-key": self.tls_key,
        }
        return [word for name, value in given.items() if value is not None for word in (name, str(value))]

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials from the files; None for a plain connection.

        Raises:
            InvalidArgumentError: A file cannot be used.
        """
        if self.tls_ca is None:
            return None
        return channel_credentials(self.tls_ca, self.tls_cert, self.tls_key)

    def reader(self) -> Callable[[], str] | None:
        """A function that reads the token, which it does once now; None: no token is sent.

        Raises:
            InvalidArgumentError: The file holds none.
        """
        path = self.token
        if path is None:
            return None
        read_token(path)  # so that a wrong path is named at the start
        return lambda: read_token(path)

    def link_settings(self) -> Dict[str, Any]:
        """``credentials`` and ``token`` of a :class:`codriver.coaching.link.FeedbackLink`; raises as these two do."""
        return {"credentials": self.credentials(), "token": self.reader()}


def read_token(path: Path) -> str:
    """Reads a bearer token.

    Raises:
        InvalidArgumentError: The file holds none in its first line.
    """
    try:
        lines = path.read_text(encoding="ascii").split("\n", 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(
            f"cannot read the token in {path}: {error}", field="feedback_token"
        ) from None
    token = lines[0].strip()
    if not token or " " in token:
        raise InvalidArgumentError(f"{path} holds no token in its first line", field="feedback_token")
    return token
