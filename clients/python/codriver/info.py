"""Print what an agent server is and which policies it serves."""

from __future__ import annotations

import argparse
import json
from typing import Any, Dict, List

from codriver.client import AgentClient
from codriver.spec import dtype_name, encoding_name
from codriver.v1 import agent_service_pb2


def main(argv: List[str]) -> int:
    """Runs ``codriver info``."""
    parser = argparse.ArgumentParser(
        prog="codriver info", description=__doc__, epilog="example: codriver info 127.0.0.1:50051 --json"
    )
    parser.add_argument("address", metavar="ADDR", help="HOST:PORT or unix:PATH")
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="S", help="longest wait in seconds (default 5)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    with AgentClient(arguments.address, timeout_s=arguments.timeout) as client:
        facts = describe(client.server_info())
    print(json.dumps(facts, indent=2) if arguments.json else _text(facts))
    return 0


def describe(info: agent_service_pb2.GetServerInfoResponse) -> Dict[str, Any]:
    """A server's answer as plain values."""
    return {
        "server_name": info.server_name,
        "server_version": info.server_version,
        "server_instance_id": info.server_instance_id,
        "max_message_bytes": info.max_message_bytes,
        "max_rows_per_message": info.max_rows_per_message,
        "policies": [
            {
                "policy_id": policy.policy.policy_id,
                "version": policy.policy.version,
                "spec_hash": policy.spec_hash,
                "tensors": [
                    {
                        "name": tensor.name,
                        "dtype": dtype_name(tensor.dtype),
                        "shape": list(tensor.shape),
                        "encoding": encoding_name(tensor.encoding),
                    }
                    for tensor in policy.observation_spec.tensors
                ],
                "actions": list(policy.action_spec.names),
                "stochastic": policy.stochastic,
                "has_value": policy.has_value,
                "card": _card(policy.card_json),
            }
            for policy in info.policies
        ],
    }


def _card(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def _text(facts: Dict[str, Any]) -> str:
    lines = [
        f"{facts['server_name']} {facts['server_version']}, instance {facts['server_instance_id']}",
        f"messages up to {facts['max_message_bytes']:,} bytes and {facts['max_rows_per_message']:,} rows",
    ]
    for index, policy in enumerate(facts["policies"]):
        default = " (default)" if index == 0 else ""
        lines.append(
            f"policy {policy['policy_id']} version {policy['version']}{default}, spec {policy['spec_hash']}"
        )
        lines += [
            f"  reads {tensor['name']}: {tensor['dtype']} {tuple(tensor['shape'])}, {tensor['encoding']}"
            for tensor in policy["tensors"]
        ]
        lines.append(
            f"  answers {', '.join(policy['actions'])}{' and a value' if policy['has_value'] else ''}"
        )
    return "\n".join(lines)
