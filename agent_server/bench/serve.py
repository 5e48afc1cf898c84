"""``codriver bench serve``: the served policy against its bare forward pass, in turns within one run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from agent_server.bench.cpu import thread_seconds
from agent_server.bench.worker import Worker, pin
from codriver.errors import CodriverError, InvalidArgumentError

TRANSPORTS = ("tcp", "unix")
SHAPES = ((1, 1), (8, 1), (8, 8), (32, 1), (32, 8))
"""Environments, and frames in each message."""

Key = tuple[str, str, int, int]


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        prog="codriver bench serve",
        allow_abbrev=False,
        description="Actions per second over gRPC, as a share of the bare batched forward pass in the same run.",
        epilog="example: codriver bench serve --policy models/town_bc --json",
    )
    p.add_argument(
        "--policy", metavar="PATH", help="policy directory (default: the standard network, untrained)"
    )
    p.add_argument("--model", choices=("process", "thread"), default="process", help="as of codriver serve")
    p.add_argument(
        "--runtime", action="append", choices=("torch-fp32", "torch-bf16"), help="repeat it for more"
    )
    p.add_argument(
        "--data", default="", metavar="DIR", help="recorded dataset to send (default: made-up frames)"
    )
    p.add_argument("--batch-cap", type=int, default=16, help="most rows in a pass (default: %(default)s)")
    p.add_argument(
        "--seconds", type=float, default=1.0, help="length of one measurement (default: %(default)s)"
    )
    p.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    p.add_argument(
        "--transport", action="append", choices=TRANSPORTS, help="only this one; repeat it for more"
    )
    p.add_argument("--envs", type=int, action="append", help="only these numbers of environments")
    p.add_argument("--json", action="store_true", help="print the figures as JSON")
    return p


def main(argv: list[str]) -> int:
    """Runs the verb."""
    args = parser().parse_args(argv)
    try:
        if args.rounds < 1 or args.seconds <= 0 or args.batch_cap < 1:
            raise InvalidArgumentError("--rounds and --batch-cap must be at least 1, --seconds more than 0")
        with contextlib.ExitStack() as stack:
            if args.policy is None:
                args.policy = _untrained(stack.enter_context(tempfile.TemporaryDirectory()))
                args.policy_name = "the standard network, untrained"
            else:
                args.policy_name = args.policy
            report = run(args)
    except CodriverError as error:
        print(f"codriver bench serve: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(report))
    else:
        _table(report)
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measures everything; the report as it is printed with ``--json``."""
    cores = sorted(os.sched_getaffinity(0))
    model_cores, other_cores = (cores[:1], cores[1:]) if len(cores) > 1 else (cores, cores)
    runs: list[dict[str, Any]] = []
    overheads: list[tuple[float, float]] = []
    for runtime in args.runtime or ["torch-fp32"]:
        bare_arguments = (args.policy, runtime.removeprefix("torch-"), "1", args.data)
        with (
            _server(args, runtime, model_cores, other_cores) as facts,
            Worker("agent_server.bench.bare", model_cores, *bare_arguments) as bare,
            Worker("agent_server.bench.clients", other_cores) as clients,
        ):
            served, yardsticks = _rounds(args, runtime, facts, model_cores, bare, clients)
        for key, results in served.items():
            runs.append(_summary(key, results, yardsticks[key]))
            if key[2] == 1:
                overheads += [
                    (s["p50_ms"] - b["p50_ms"], s["p99_ms"] - b["p99_ms"])
                    for s, b in zip(results, yardsticks[key])
                ]
    report: dict[str, Any] = {"runs": runs}
    if overheads:
        report["overhead_p50_ms"] = round(statistics.median(o[0] for o in overheads), 3)
        report["overhead_p99_ms"] = round(statistics.median(o[1] for o in overheads), 3)
    report["setting"] = {
        "policy": args.policy_name,
        "frames": f"recorded, from {args.data}"
        if args.data
        else "made up: boxes of every level in every channel",
        "model": args.model,
        "model_threads": 1,
        "model_cores": model_cores,
        "front_and_client_cores": other_cores,
        "batch_cap": args.batch_cap,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "efficiency": "median over rounds of actions/s divided by frames/s of the bare forward pass, measured just "
        "before on the model's core at the largest batch that the environments and the cap allow, decoding not "
        "included",
        "cpu_efficiency": "processor time of a frame in the bare forward pass divided by that of a frame in the "
        "model's thread (decoding, forward, serialising): what efficiency can be on a machine with nothing else to do",
        "overhead": "round trip at 1 environment minus bare forward pass at batch 1, percentile by percentile",
    }
    return report


def _rounds(
    args: argparse.Namespace,
    runtime: str,
    facts: dict[str, Any],
    model_cores: list[int],
    bare: Worker,
    clients: Worker,
) -> tuple[dict[Key, list[dict[str, Any]]], dict[Key, list[dict[str, Any]]]]:
    """Takes turns, so that what disturbs the machine disturbs both sides alike."""
    served: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    yardsticks: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    pids, addresses = {facts["pid"], facts["model_pid"]}, dict(zip(TRANSPORTS, facts["addresses"]))
    for _ in range(args.rounds):
        for envs, per_message in SHAPES:
            if args.envs and envs not in args.envs:
                continue
            for transport in args.transport or TRANSPORTS:
                key = (transport, runtime, envs, per_message)
                batch = min(envs, args.batch_cap)
                yardsticks[key].append(bare({"batch": batch, "seconds": args.seconds / 2}))
                job = {"address": addresses[transport], "envs": envs, "frames_per_message": per_message}
                clients({**job, "do": "connect", "data": args.data})
                before = thread_seconds(pids, model_cores)
                result = clients({"do": "run", "seconds": args.seconds})
                after = thread_seconds(pids, model_cores)
                clients({"do": "close"})
                if before is not None and after is not None:
                    result["model_cpu_us_per_frame"] = (
                        (after[0] - before[0]) / (result["messages"] * per_message) * 1e6
                    )
                    result["front_cpu_us_per_message"] = (after[1] - before[1]) / result["messages"] * 1e6
                served[key].append(result)
    return served, yardsticks


def _summary(key: Key, served: list[dict[str, Any]], bare: list[dict[str, Any]]) -> dict[str, Any]:
    transport, runtime, envs, per_message = key

    def median(name: str) -> float:
        return round(float(statistics.median(result[name] for result in served)), 3)

    ratios = [s["actions_per_s"] / b["frames_per_s"] for s, b in zip(served, bare)]
    row = {
        "transport": transport,
        "runtime": runtime,
        "envs": envs,
        "frames_per_message": per_message,
        "actions_per_s": round(median("actions_per_s"), 1),
        "efficiency": round(statistics.median(ratios), 3),
        "p50_ms": median("p50_ms"),
        "p99_ms": median("p99_ms"),
        "bare_frames_per_s": round(statistics.median(b["frames_per_s"] for b in bare), 1),
        "queue_p50_ms": median("queue_p50_ms"),
        "inference_p50_ms": median("inference_p50_ms"),
        "rows_per_pass": median("rows_per_pass"),
        "client_cpu_us_per_message": median("client_cpu_us_per_message"),
    }
    if all(
        result.get("model_cpu_us_per_frame") for result in served
    ):  # too short a run has no tick of the clock
        shares = [b["cpu_us_per_frame"] / s["model_cpu_us_per_frame"] for s, b in zip(served, bare)]
        row["cpu_efficiency"] = round(statistics.median(shares), 3)
        row["front_cpu_us_per_message"] = median("front_cpu_us_per_message")
    return row


@contextlib.contextmanager
def _server(
    args: argparse.Namespace, runtime: str, model_cores: list[int], other_cores: list[int]
) -> Iterator[dict[str, Any]]:
    """A server process: its model's thread on one core, everything else on the others."""
    with tempfile.TemporaryDirectory(prefix="codriver-bench-") as folder:
        command = [sys.executable, "-m", "agent_server.serve", "--policy", args.policy, "--threads", "1"]
        command += ["--model", args.model, "--runtime", runtime, "--batch-cap", str(args.batch_cap)]
        command += ["--model-cores", ",".join(map(str, model_cores))]
        command += ["--listen", "127.0.0.1:0", "--listen", f"unix:{folder}/agent.sock"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: pin(other_cores),
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("READY "):
                why = (process.stderr.read().strip().splitlines() or ["no reason given"])[-1]
                raise InvalidArgumentError(f"the server did not start: {why}")
            yield json.loads(line[len("READY ") :])
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _untrained(folder: str) -> str:
    """The standard network with random weights, as a policy directory."""
    from agent_server.policies.card import PolicyCard
    from agent_server.policies.directory import save_policy
    from agent_server.policies.network import DrivingNetwork
    from codriver import driving

    card = PolicyCard(
        "untrained", "bev_cnn", driving.observation_spec(), driving.action_spec(), has_value=True
    )
    save_policy(f"{folder}/untrained", card, DrivingNetwork())
    return f"{folder}/untrained"


def _table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    setting = report["setting"]
    table = Table(title=f"codriver bench serve: {setting['policy']}")
    names = [
        "transport",
        "runtime",
        "envs",
        "frames_per_message",
        "actions_per_s",
        "efficiency",
        "p50_ms",
        "p99_ms",
    ]
    for name in [*names, "rows_per_pass"]:
        table.add_column(name.replace("_", " "), justify="right" if name not in names[:2] else "left")
    for row in report["runs"]:
        table.add_row(*(str(row.get(name, "")) for name in names))
    console = Console()
    console.print(table)
    if "overhead_p50_ms" in report:
        console.print(
            f"overhead at 1 environment: p50 {report['overhead_p50_ms']} ms, p99 {report['overhead_p99_ms']} ms"
        )
    console.print(
        f"model in a {setting['model']}: 1 thread on core {setting['model_cores']}; front and clients on cores "
        f"{setting['front_and_client_cores']}; batch cap {setting['batch_cap']}; frames {setting['frames']}.\n"
        f"efficiency: {setting['efficiency']}."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
