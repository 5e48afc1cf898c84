"""Options of ``codriver train bc``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codriver.driving import STATE_ITEMS
from codriver.errors import InvalidArgumentError

EXAMPLE = (
    "example: codriver train bc --data data/expert data/dagger-1 --weights 1 2 --out runs/bc --minutes 30"
)


@dataclass(frozen=True)
class Options:
    """How to train.

    Attributes:
        data: Datasets of one spec.
        out: Run directory; the policy is written to its folder ``policy``.
        weights: Sampling weight of each dataset's rows.
        epochs: Epochs to train; the learning rate falls over them.
        minutes: Minutes to train instead, validation included.
        epoch_rows: Rows drawn an epoch. None: as many as there are training rows.
        batch: Rows a step.
        micro_batch: Rows a forward pass; 64 stays in the processor's cache and is the fastest.
        lr: Peak learning rate (AdamW, short warm-up, cosine to 1 %).
        weight_decay: Decoupled weight decay.
        steer_weight: Weight of the steering error against the acceleration error.
        balance: 0 keeps the recorded mix of situations, 1 gives each the same share of a batch.
        ignored_state: State items that the policy never sees.
        shift_px: Random shift of the masks. It moves the road against the car but not the label, so it is off.
        bf16: Forward and backward pass in bfloat16; weights and optimiser stay in float32.
        threads: Threads of the network.
        seed: Seed of weights and sampling.
        average: Decay of the averaged weights, which are the ones that are shipped. 0: the last weights.
        validation_share: Share of the episodes that is held out.
        validation_rows: Most held-out rows that an epoch's validation looks at.
        exploration_std: Standard deviations for stochastic sampling that go into the card; empty: none.
        init: Policy to start from.
        resume: Continue the run in `out`.
        id: Id of the policy.
    """

    data: tuple[Path, ...]
    out: Path
    weights: tuple[float, ...] = ()
    epochs: int = 10
    minutes: float | None = None
    epoch_rows: int | None = None
    batch: int = 128
    micro_batch: int = 64
    lr: float = 5e-4
    weight_decay: float = 1e-3
    steer_weight: float = 4.0
    balance: float = 0.5
    ignored_state: tuple[int, ...] = (0, 1, 2)
    shift_px: int = 0
    bf16: bool = True
    threads: int = 0
    seed: int = 0
    average: float = 0.999
    validation_share: float = 0.05
    validation_rows: int = 4096
    exploration_std: tuple[float, ...] = (0.1, 0.05)
    init: Path | None = None
    resume: bool = False
    id: str = "bev-cnn-bc"

    def __post_init__(self) -> None:
        """Fills in what depends on other options and refuses what cannot be.

        Raises:
            InvalidArgumentError: An option is out of range.
        """
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.data))
        if self.threads < 1:
            object.__setattr__(self, "threads", os.cpu_count() or 1)
        object.__setattr__(self, "micro_batch", min(self.micro_batch, self.batch))
        checks = (
            (len(self.weights) == len(self.data), "--weights needs one number for each --data"),
            (all(w > 0 for w in self.weights), "--weights must be positive"),
            (self.epochs >= 1, "--epochs must be 1 or more"),
            (self.minutes is None or self.minutes > 0, "--minutes must be positive"),
            (
                self.batch >= 1 and self.batch % self.micro_batch == 0,
                "--batch must be a multiple of --micro-batch",
            ),
            (self.lr > 0, "--lr must be positive"),
            (0 <= self.balance <= 1, "--balance must be 0 to 1"),
            (0 <= self.average < 1, "--average must be 0 or more and under 1"),
            (0 <= self.validation_share < 1, "--validation-share must be 0 or more and under 1"),
        )
        for good, message in checks:
            if not good:
                raise InvalidArgumentError(message)


def parser() -> argparse.ArgumentParser:
    """The command line of ``codriver train bc``; defaults are those of :class:`Options`."""
    made = argparse.ArgumentParser(
        prog="codriver train bc",
        description="Behaviour cloning: trains a policy on recorded expert actions.",
        epilog=EXAMPLE,
    )
    d = Options(data=(), out=Path())
    made.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="DIR", help="datasets of codriver collect"
    )
    made.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="run directory; policy in DIR/policy"
    )
    made.add_argument(
        "--weights", type=float, nargs="+", default=(), metavar="W", help="sampling weight of each dataset"
    )
    length = made.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, default=d.epochs, help="default %(default)s")
    length.add_argument("--minutes", type=float, help="train for a time instead")
    made.add_argument("--epoch-rows", type=int, metavar="N", help="rows an epoch; default: all training rows")
    made.add_argument("--batch", type=int, default=d.batch, help="rows a step; default %(default)s")
    made.add_argument("--lr", type=float, default=d.lr, help="peak learning rate; default %(default)s")
    made.add_argument("--weight-decay", type=float, default=d.weight_decay, help="default %(default)s")
    made.add_argument("--steer-weight", type=float, default=d.steer_weight, help="default %(default)s")
    made.add_argument(
        "--balance", type=float, default=d.balance, help="0: recorded mix, 1: even; default %(default)s"
    )
    made.add_argument(
        "--ignore-state",
        default="throttle,steer,brake",
        metavar="ITEMS",
        help="state items that the policy never sees, so that it cannot copy its last action "
        "(with --init: those of that policy); default %(default)s",
    )
    made.add_argument(
        "--shift", type=int, default=0, metavar="PX", help="random shift of the masks; default: off"
    )
    made.add_argument(
        "--bf16", action=argparse.BooleanOptionalAction, default=None, help="default: where it is fast"
    )
    made.add_argument("--threads", type=int, default=0, help="default: all cores")
    made.add_argument("--seed", type=int, default=d.seed)
    made.add_argument(
        "--average", type=float, default=d.average, help="decay of averaged weights; default %(default)s"
    )
    made.add_argument(
        "--validation-share", type=float, default=d.validation_share, help="default %(default)s"
    )
    made.add_argument("--init", type=Path, metavar="POLICY", help="start from a policy's weights")
    made.add_argument("--resume", action="store_true", help="continue the run in --out")
    made.add_argument("--id", default=d.id, help="id of the policy; default %(default)s")
    made.add_argument("--json", action="store_true", help="print the summary as JSON")
    return made


def from_arguments(arguments: argparse.Namespace, fast_bf16: bool) -> Options:
    """Options from parsed arguments.

    Args:
        arguments: Of :func:`parser`.
        fast_bf16: What ``--bf16`` defaults to.

    Raises:
        InvalidArgumentError: An option is out of range.
    """
    taken: dict[str, Any] = dict(vars(arguments))
    taken.pop("json")
    taken["data"], taken["weights"] = tuple(taken["data"]), tuple(taken["weights"])
    taken["shift_px"] = taken.pop("shift")
    taken["bf16"] = fast_bf16 if taken["bf16"] is None else taken["bf16"]
    taken["ignored_state"] = state_indices(taken.pop("ignore_state").split(","))
    return Options(**taken)


def state_indices(names: Sequence[str]) -> tuple[int, ...]:
    """Indices of state items by name; empty names are skipped.

    Raises:
        InvalidArgumentError: A name is not known.
    """
    wanted = [name.strip() for name in names if name.strip()]
    for name in wanted:
        if name not in STATE_ITEMS:
            raise InvalidArgumentError(f"unknown state item {name!r}; there are: {', '.join(STATE_ITEMS)}")
    return tuple(sorted(STATE_ITEMS.index(name) for name in wanted))
