"""``codriver train bc``: behaviour cloning of recorded expert actions.

Three habits keep a clone from the usual traps:

- It never sees its own last control (``--ignore-state``): a clone that does learns to repeat it ("copycat" or
  inertia problem), standing for ever or never braking.
- Rare situations are drawn more often (``--balance``).
- Driving of the clone itself, labelled by the expert (DAgger), is added as further ``--data`` with ``--weights``.

The value head learns the discounted return (0.99 a step) of the recorded driving from the features as they are.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agent_server.policies.card import PolicyCard
from agent_server.policies.directory import load_module, save_policy
from agent_server.policies.network import DrivingNetwork
from agent_server.train.data import Rows, load_rows
from agent_server.train.options import Options, from_arguments, parser
from agent_server.train.returns import DISCOUNT
from agent_server.train.trainer import Trainer
from codriver.dataset import read_manifest
from codriver.errors import CodriverError, InvalidArgumentError

ARCHITECTURE = "bev_cnn"
POLICY = "policy"
LOG = "log.jsonl"


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0, 2 for bad input, 130 when interrupted."""
    arguments: argparse.Namespace = parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        options = from_arguments(arguments, fast_bf16())
        summary = train(options, console)
    except (CodriverError, OSError) as error:
        print(f"codriver train bc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("codriver train bc: interrupted; continue with --resume", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(summary))
    return 0


def train(options: Options, console: Console) -> dict[str, Any]:
    """Trains and writes the policy after every epoch.

    Returns:
        Path, parameter counts, and figures of the last epoch.

    Raises:
        CodriverError: Data, initial policy or checkpoint are not usable.
    """
    place = options.out / POLICY
    if place.exists() and not options.resume:
        raise InvalidArgumentError(
            f"{options.out} holds a run already", hint="Add --resume or choose another --out"
        )
    rows = load_rows(
        options.data,
        options.weights,
        options.validation_share,
        options.balance,
        lambda line: console.print(line, highlight=False),
    )
    torch.manual_seed(options.seed)
    network, card = _start(options, rows)
    held = int(rows.held_out.sum())
    console.print(
        f"{len(rows) - held} rows to train on, {held} held out, {rows.episodes} episodes", highlight=False
    )
    console.print(
        "parameters: " + ", ".join(f"{k} {v:,}" for k, v in card.parameters.items()), highlight=False
    )
    trainer = Trainer(rows, network, card, options)
    while not trainer.finished:
        figures = _epoch(trainer, console)
        with (options.out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(figures) + "\n")
        save_policy(place, _final_card(card, trainer, options, rows), trainer.weights())
        console.print(_line(figures), highlight=False)
    last = trainer.history[-1] if trainer.history else {}
    return {"policy": str(place), "parameters": dict(card.parameters), **last}


def fast_bf16() -> bool:
    """True where the processor has bfloat16 instructions; without them bfloat16 is slower than float32."""
    found = torch.cpu.get_capabilities()
    return any(bool(found.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _start(options: Options, rows: Rows) -> tuple[DrivingNetwork, PolicyCard]:
    """The network to train, and a card for it."""
    if options.init is not None:
        card, module = load_module(options.init)
        if not isinstance(module, DrivingNetwork):
            raise InvalidArgumentError(
                f"{options.init} has the architecture {card.architecture!r}, not {ARCHITECTURE!r}"
            )
        card = replace(card, id=options.id, metrics={})
    else:
        masks, state = rows.observation_spec.tensors
        arguments: dict[str, Any] = {
            "channels": masks.shape[0],
            "size": masks.shape[1],
            "state_items": state.shape[0],
            "actions": len(rows.action_spec.names),
            "ignored_state": list(options.ignored_state),
        }
        module = DrivingNetwork(**arguments)
        card = PolicyCard(
            options.id,
            ARCHITECTURE,
            rows.observation_spec,
            rows.action_spec,
            arguments=arguments,
            has_value=True,
            exploration_std=options.exploration_std or None,
            parameters=module.parameter_counts(),
        )
    card.check()
    data_card = replace(card, observation_spec=rows.observation_spec, action_spec=rows.action_spec)
    if data_card.spec_hash != card.spec_hash:
        raise InvalidArgumentError(f"{options.init} was trained on another spec than {options.data[0]}")
    return module, card


def _final_card(card: PolicyCard, trainer: Trainer, options: Options, rows: Rows) -> PolicyCard:
    """The card with where the weights come from and what was measured."""
    training = {
        "method": "behaviour cloning",
        "data": [_data_facts(path, w) for path, w in zip(options.data, options.weights, strict=True)],
        "rows": len(rows),
        "episodes": rows.episodes,
        "epochs": trainer.epoch,
        "samples": int(sum(figures["samples"] for figures in trainer.history)),
        "batch": options.batch,
        "lr": options.lr,
        "weight_decay": options.weight_decay,
        "steer_weight": options.steer_weight,
        "balance": options.balance,
        "weight_average": options.average,
        "discount": DISCOUNT,
        "precision": "bf16" if options.bf16 else "fp32",
        "seed": options.seed,
        "init": None if options.init is None else options.init.name,
        "seconds": round(trainer.history[-1]["elapsed_s"], 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "codriver": _version()},
    }
    figures = {
        name: round(value, 5) for name, value in trainer.history[-1].items() if name not in _NOT_METRICS
    }
    return replace(card, training=training, metrics={"validation": figures})


_NOT_METRICS = ("samples_per_s", "samples", "epoch", "elapsed_s")


def _data_facts(path: Path, weight: float) -> dict[str, Any]:
    manifest = read_manifest(path)
    return {
        "name": path.name,
        "weight": weight,
        "rows": manifest.rows,
        "episodes": len(manifest.episode_ids()),
        "provenance": manifest.provenance[:4],
    }


def _version() -> str:
    try:
        return version("codriver")
    except PackageNotFoundError:
        return "unknown"


def _epoch(trainer: Trainer, console: Console) -> dict[str, float]:
    """Runs an epoch under a progress bar."""
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} rows  loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=trainer.samples_per_epoch, epoch=trainer.epoch + 1, loss=0.0)
        return trainer.run_epoch(lambda done, due, loss: bar.update(task, completed=done, loss=loss))


def _line(figures: dict[str, float]) -> str:
    """One line an epoch for people."""
    shown = (
        ("loss", "loss {:.4f}"),
        ("throttle_mae", "throttle {:.3f}"),
        ("steer_mae", "steer {:.4f}"),
        ("brake_mae", "brake {:.3f}"),
        ("brakes_when_braking", "brakes {:.0%}"),
        ("stays_when_standing", "stays {:.0%}"),
        ("starts_from_rest", "starts {:.0%}"),
        ("brakes_for_nothing", "brakes for nothing {:.1%}"),
        ("value_mae", "value {:.1f}"),
        ("samples_per_s", "{:.0f} rows/s"),
    )
    parts = [form.format(figures[name]) for name, form in shown if name in figures]
    return f"epoch {figures['epoch']:.0f}: " + ", ".join(parts)
