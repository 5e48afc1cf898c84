"""``codriver feedback``: coaches in, feedback on observations out."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from codriver.errors import CodriverError
from feedback_service.priority import give_way

if TYPE_CHECKING:
    from feedback_service.config import Settings
    from feedback_service.server import FeedbackServer

_AWAY_S = 20.0
"""Another Triton than the embedded one may be away for as long as it likes: what is known then is reported."""
_SLOW_S = 300.0
"""One that is there may take that long for the first answers of its models."""


def main(argv: list[str]) -> int:
    """Runs the verb; 0 after an orderly end, 1 when a check finds nothing to use, 2 when it cannot start."""
    from feedback_service.config import settings

    try:
        chosen = settings(argv)
        logging.basicConfig(
            level=logging.INFO if chosen.verbose else logging.WARNING,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        if chosen.check:
            from feedback_service.check import check_command

            return asyncio.run(check_command(chosen))
        give_way()
        return asyncio.run(_serve(chosen))
    except CodriverError as error:
        print(f"codriver feedback: {error}", file=sys.stderr)
        return 2


async def _serve(chosen: Settings) -> int:
    from feedback_service.registry.files import write_whole
    from feedback_service.server import FeedbackServer

    begin = time.monotonic()
    server = FeedbackServer(chosen.options)
    await server.start()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    facts: dict[str, Any] = {
        "addresses": server.addresses,
        "admin_address": server.admin_address,
        "metrics_address": server.metrics_address,
        "triton": chosen.options.triton,
        "coaches": [choice.settings.name for choice in chosen.options.coaches],
        "instance_id": server.instance_id,
        "pid": os.getpid(),
    }
    if chosen.ready_file is not None:
        write_whole(chosen.ready_file, json.dumps(facts) + "\n")
    print(f"READY {json.dumps(facts)}", flush=True)
    print(
        f"codriver feedback: {', '.join(facts['coaches'])} at {', '.join(server.addresses)}; "
        f"models come up at Triton ({chosen.options.triton}). Ctrl-C stops it.",
        file=sys.stderr,
        flush=True,
    )
    telling = asyncio.create_task(_tell_coaches(server, begin))
    try:
        await server.wait()
    finally:
        telling.cancel()
        if chosen.ready_file is not None:
            chosen.ready_file.unlink(missing_ok=True)
    return 0


async def _tell_coaches(server: FeedbackServer, begin: float) -> None:
    """Says how the coaches are, once that is known."""
    from feedback_service.config import EMBEDDED

    if server.options.triton == EMBEDDED:
        await server.settled()
    elif not await server.settled(_AWAY_S) and await server.triton_live():
        await server.settled(_SLOW_S)
    if server.stopping:
        return
    coaches = [coach_facts(info) for info in server.coaches()]
    seconds = round(time.monotonic() - begin, 3)
    print(
        "COACHES "
        + json.dumps({"coaches": coaches, "triton_address": server.triton_address, "seconds": seconds}),
        flush=True,
    )
    for coach in coaches:
        how = "answers" if coach["ready"] else f"does not answer yet: {coach['detail']}"
        model = f" ({coach['model_id']}, version {coach['model_version']})" if coach["model_id"] else ""
        print(f"codriver feedback: {coach['coach']}{model} {how}", file=sys.stderr, flush=True)


def coach_facts(info: Any) -> dict[str, Any]:
    """A ``CoachInfo`` as JSON."""
    from feedback_service.registry.inspect import KIND_WORDS

    return {
        "coach": info.coach,
        "kind": KIND_WORDS[info.kind],
        "ready": info.ready,
        "model_id": info.model_id,
        "model_version": info.model_version,
        "detail": info.detail,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
