"""``codriver serve``: policies in, a running agent server out."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from codriver.errors import CodriverError, InternalError

if TYPE_CHECKING:
    from agent_server.serve_config import Settings
    from agent_server.server import AgentServer


def main(argv: list[str]) -> int:
    """Runs the verb; 0 after an orderly end, 2 when it cannot start."""
    from agent_server.serve_config import settings

    try:
        chosen = settings(argv)
        logging.basicConfig(
            level=logging.INFO if chosen.verbose else logging.WARNING,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        return asyncio.run(_serve(chosen))
    except CodriverError as error:
        print(f"codriver serve: {error}", file=sys.stderr)
        return 2


async def _serve(chosen: Settings) -> int:
    from agent_server.server import AgentServer

    begin = time.monotonic()
    # The model's thread and the event loop hand the interpreter to each other often: 5 ms turns would starve both.
    sys.setswitchinterval(1e-4)
    options = chosen.options
    server = AgentServer(chosen.policies, options)
    await server.start()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, server, signal.Signals(number).name)
    policies = [policy.key.policy_id for policy in server.store.current()]
    facts = {
        "addresses": server.addresses,
        "admin_address": server.admin_address,
        "feedback": "" if options.feedback is None else options.feedback.address,
        "policies": policies,
        "runtime": options.runtime,
        "threads": options.threads,
        "batch_cap": options.batch_cap,
        "pid": os.getpid(),
        "model_pid": server.model_pid,
    }
    if chosen.ready_file is not None:
        _write_whole(chosen.ready_file, json.dumps(facts) + "\n")
    print(f"READY {json.dumps(facts)}", flush=True)
    names = ", ".join(policies)
    print(
        f"codriver serve: {names} at {', '.join(server.addresses)}; {options.runtime}, {options.threads} "
        f"model threads, batches of up to {options.batch_cap}; "
        f"ready after {time.monotonic() - begin:.1f} s. Ctrl-C stops it.",
        file=sys.stderr,
    )
    try:
        await server.wait()
    finally:
        if chosen.ready_file is not None:
            chosen.ready_file.unlink(missing_ok=True)
    if server.failed:
        raise InternalError(server.failed)
    return 0


def _stop(server: AgentServer, why: str) -> None:
    """The first signal drains; the second one stops now."""
    if server.draining:
        server.stop_now()
    else:
        server.drain(reason=f"it got {why}")


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that readers see whole or not at all."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_text(text, encoding="utf-8")
    staging.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
