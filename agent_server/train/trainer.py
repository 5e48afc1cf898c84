"""The training loop of behaviour cloning."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from agent_server.policies.base import PolicyLoadError
from agent_server.policies.card import PolicyCard
from agent_server.policies.network import DrivingNetwork
from agent_server.policies.torch_policy import TorchPolicy
from agent_server.train.checkpoint import load_checkpoint, read_facts, save_checkpoint
from agent_server.train.data import Rows
from agent_server.train.loader import Batch, batches, draw_epoch
from agent_server.train.loss import cloning_loss, value_loss
from agent_server.train.options import Options
from agent_server.train.validation import validate

_WARM_UP_SHARE = 0.03
_FINAL_LR = 0.01
_CLIP_NORM = 1.0
CHECKPOINT = "checkpoint"
Progress = Callable[[int, int, float], None]
"""Told samples done and due in the epoch, and the running loss."""


class Trainer:
    """Trains a network on rows; epochs are repeatable, and a run continues where its last checkpoint stands.

    Args:
        rows: Training and held-out rows.
        network: The network, trained in place.
        card: Card of the policy being made.
        options: How to train. With ``resume``, the state of ``out`` is read.

    Attributes:
        epoch: Finished epochs.
        history: Figures of each finished epoch.

    Raises:
        PolicyLoadError: ``resume`` without a usable checkpoint.
    """

    def __init__(self, rows: Rows, network: DrivingNetwork, card: PolicyCard, options: Options) -> None:
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(options.threads, thread_name_prefix="gradients")
        self._parameters = list(network.parameters())
        self._rows, self._options, self._card = rows, options, card
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.lr, weight_decay=options.weight_decay, fused=True
        )
        self.epoch, self._step, self._elapsed_s = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        train_rows = int((rows.weight > 0).sum())
        drawn = options.epoch_rows or train_rows
        self.samples_per_epoch = max(1, drawn // options.batch) * options.batch
        if options.resume:
            self._load()

    @property
    def finished(self) -> bool:
        """True: nothing is left to train."""
        if self._options.minutes is None:
            return self.epoch >= self._options.epochs
        return self._elapsed_s >= self._options.minutes * 60

    def run_epoch(self, progress: Progress = lambda done, due, loss: None) -> dict[str, float]:
        """Trains an epoch (or until the time is up), validates, writes a checkpoint, and returns figures."""
        options, began = self._options, time.perf_counter()
        order = draw_epoch(self._rows, self.samples_per_epoch, options.seed, self.epoch)
        source = batches(self._rows, order, options.micro_batch, options.shift_px, options.seed)
        losses, done, before = 0.0, 0, self._elapsed_s
        self._network.train()
        try:
            for loss in self._steps(source):
                done += options.batch
                losses += loss
                self._elapsed_s = before + time.perf_counter() - began
                progress(done, self.samples_per_epoch, losses * options.batch / done)
                if options.minutes is not None and self.finished:
                    break
        finally:
            source.close()
        spent = time.perf_counter() - began
        figures = {
            "loss": losses * options.batch / max(done, 1),
            "samples_per_s": done / spent,
            "samples": float(done),
        }
        figures |= validate(self.policy(), self._rows, options.validation_rows)
        self._elapsed_s = before + time.perf_counter() - began
        self.epoch += 1
        figures |= {"epoch": float(self.epoch), "elapsed_s": self._elapsed_s}
        self.history.append(figures)
        self._save()
        return figures

    def weights(self) -> dict[str, Tensor]:
        """The weights to ship: the averaged ones, or the last ones where averaging is off."""
        return dict(self._average) if self._options.average else dict(self._network.state_dict())

    def policy(self) -> TorchPolicy:
        """A copy of the shipped weights to act with."""
        module = copy.deepcopy(self._network)
        module.load_state_dict(self.weights())
        return TorchPolicy(self._card, module)

    def _steps(self, source: Iterator[Batch]) -> Iterator[float]:
        """Runs optimiser steps until the source ends; yields the loss of each.

        Threads share a step by micro-batches, one torch thread each: they meet once a step. Threads inside of
        operators meet hundreds of times a step, which stalls whenever another process wants a core.
        """
        parts = self._options.batch // self._options.micro_batch
        while True:
            for group in self._optimizer.param_groups:
                group["lr"] = self._options.lr * self._schedule()
            micro = [batch for _ in range(parts) if (batch := next(source, None)) is not None]
            if len(micro) < parts:
                return
            results = list(self._pool.map(self._gradients, micro))
            for number, parameter in enumerate(self._parameters):
                parameter.grad = (
                    sum((gradients[number] for _, gradients in results[1:]), results[0][1][number]) / parts
                )
            torch.nn.utils.clip_grad_norm_(self._parameters, _CLIP_NORM)
            self._optimizer.step()
            self._step += 1
            self._update_average()
            yield sum(loss for loss, _ in results) / parts

    def _gradients(self, batch: Batch) -> tuple[float, tuple[Tensor, ...]]:
        """Loss of a micro-batch and its gradient by parameter."""
        loss = self._loss(batch)
        return float(loss.detach()), torch.autograd.grad(loss, self._parameters)

    def _loss(self, batch: Batch) -> Tensor:
        masks, network = batch.masks, self._network
        dtype = torch.bfloat16 if self._options.bf16 else torch.float32
        scaled = masks.to(dtype, memory_format=torch.channels_last).div_(255)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._options.bf16, cache_enabled=False):
            features = network.features(scaled, batch.state)
            action = network.actor(features)
            # The value head reads the features but does not shape them: the action stays a pure clone.
            value = network.values(features.detach())
        loss = cloning_loss(action, batch.label, self._options.steer_weight)
        if value is not None:
            loss = loss + value_loss(value, batch.value, network.value_scale)
        return loss

    def _schedule(self) -> float:
        """Learning rate relative to its peak: linear warm-up, then cosine over the run."""
        options = self._options
        if options.minutes is None:
            total = options.epochs * (self.samples_per_epoch // options.batch)
            share = (self._step + 1) / max(1, total)
        else:
            share = self._elapsed_s / (options.minutes * 60)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        return min(1.0, share / _WARM_UP_SHARE) * (_FINAL_LR + (1 - _FINAL_LR) * cosine)

    def _update_average(self) -> None:
        decay = min(self._options.average, (1 + self._step) / (10 + self._step))
        state = self._network.state_dict()
        names = list(self._average)
        with torch.no_grad():
            torch._foreach_lerp_([self._average[n] for n in names], [state[n] for n in names], 1 - decay)

    def _facts(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "step": self._step,
            "elapsed_s": self._elapsed_s,
            "seed": self._options.seed,
            "spec_hash": self._card.spec_hash,
            "arguments": dict(self._card.arguments),
            "history": self.history,
        }

    def _save(self) -> None:
        save_checkpoint(
            self._options.out / CHECKPOINT, self._network, self._average, self._optimizer, self._facts()
        )

    def _load(self) -> None:
        path = self._options.out / CHECKPOINT
        facts = read_facts(path)
        for name, here in (("spec_hash", self._card.spec_hash), ("arguments", dict(self._card.arguments))):
            if facts.get(name) != here:
                raise PolicyLoadError(f"checkpoint {path} was trained with another {name}: {facts.get(name)}")
        try:
            self.epoch, self._step = int(facts["epoch"]), int(facts["step"])
            self._elapsed_s, self.history = float(facts["elapsed_s"]), list(facts["history"])
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyLoadError(f"checkpoint {path} is damaged: {error}") from error
        load_checkpoint(path, self._network, self._average, self._optimizer)
