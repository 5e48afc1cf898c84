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

from codriver.errors import CodriverError

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
    from agent_server.policy_loading import load_warm
    from agent_server.server import AgentServer

    begin = time.monotonic()
    # The model's thread and the event loop hand the interpreter to each other often: 5 ms turns would starve both.
    sys.setswitchinterval(1e-4)
    options = chosen.options
    policies = [
        load_warm(path, options.batch_cap, options.runtime, options.threads) for path in chosen.policies
    ]
    server = AgentServer(policies, options)
    await server.start()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, server, signal.Signals(number).name)
    facts = {
        "addresses": server.addresses,
        "admin_address": server.admin_address,
        "policies": [policy.card.id for policy in policies],
        "runtime": options.runtime,
        "threads": options.threads,
        "batch_cap": options.batch_cap,
        "pid": os.getpid(),
    }
    if chosen.ready_file is not None:
        _write_whole(chosen.ready_file, json.dumps(facts) + "\n")
    print(f"READY {json.dumps(facts)}", flush=True)
    names = ", ".join(f"{p.card.id} ({path})" for p, path in zip(policies, chosen.policies))
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
