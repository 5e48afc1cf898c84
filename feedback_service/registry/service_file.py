"""How the commands find the feedback service that runs on a store: a file beside it while the service runs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from feedback_service.registry.files import write_whole

FILE = "service.json"


@dataclass(frozen=True)
class ServiceFacts:
    """Where a feedback service listens.

    Attributes:
        admin_address: Of its FeedbackAdminService: ``HOST:PORT`` or ``unix:PATH``.
        pid: Its process.
        tls: True: callers need TLS.
    """

    admin_address: str
    pid: int
    tls: bool = False


def write_service_file(directory: Path, facts: ServiceFacts) -> None:
    """Announces a running service; readers see the file whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / FILE, json.dumps(asdict(facts)) + "\n")


def remove_service_file(directory: Path, pid: int) -> None:
    """Takes the announcement back, unless another service has made its own meanwhile."""
    facts = read_service_file(directory, alive=False)
    if facts is not None and facts.pid == pid:
        (directory / FILE).unlink(missing_ok=True)


def read_service_file(directory: Path, alive: bool = True) -> ServiceFacts | None:
    """The service that runs on a store; None: there is none.

    Args:
        directory: The store's directory.
        alive: True: a file that a killed service left behind counts as none.
    """
    try:
        form = json.loads((directory / FILE).read_text(encoding="utf-8"))
        facts = ServiceFacts(str(form["admin_address"]), int(form["pid"]), bool(form.get("tls", False)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if not alive or _runs(facts.pid) else None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
