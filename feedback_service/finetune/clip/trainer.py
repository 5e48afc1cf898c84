"""The training loop's state: steps, schedule, moving average, and checkpoints to resume from."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from codriver.errors import InvalidArgumentError
from feedback_service.finetune.clip.batches import Batches, read
from feedback_service.finetune.clip.data import Pictures
from feedback_service.finetune.clip.loss import batch_loss
from feedback_service.finetune.clip.options import BETAS, CLIP_NORM, EPS, Options
from feedback_service.models.clip.network import Clip
from feedback_service.models.clip.pictures import normalise

MAX_SCALE = 100.0
"""As CLIP and open_clip bound it."""
CHECKPOINT = "checkpoint"


class Trainer:
    """One training run.

    Args:
        clip: The model to train; moved to the device.
        pictures: Labelled pictures; held-out ones are not trained on.
        options: The run.
        device: Where to.
        bf16: Whether the towers run in bfloat16.
    """

    def __init__(
        self, clip: Clip, pictures: Pictures, options: Options, device: torch.device, bf16: bool
    ) -> None:
        module = clip.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.clip = clip._replace(module=module.train().requires_grad_(True))
        self.options, self.device, self.bf16 = options, device, bf16
        self.history: list[dict[str, Any]] = []
        self.steps, self.seconds = 0, 0.0
        self._batches = Batches(
            pictures, clip.card, options.batch, options.balance, options.mirror, options.shift
        )
        self.samples_due = int(options.epochs * int((~pictures.held_out).sum()))
        self._rng = np.random.default_rng(options.seed)
        self._tokens = clip.caption_tokens().to(device)
        named = list(self.clip.module.named_parameters())
        flat = [p for n, p in named if p.ndim < 2 or "positional" in n]
        rest = [p for n, p in named if not (p.ndim < 2 or "positional" in n)]
        groups = [
            {"params": rest, "weight_decay": options.weight_decay},
            {"params": flat, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=BETAS, eps=EPS)
        self._average = {n: t.detach().float().clone() for n, t in self._floats()} if options.average else {}

    @property
    def samples(self) -> int:
        """Pictures that were trained on."""
        return self.steps * self.options.batch

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1: samples or minutes, whichever is further."""
        done = self.samples / max(self.samples_due, 1)
        if self.options.minutes:
            done = max(done, self.seconds / (60 * self.options.minutes))
        return min(done, 1.0)

    def step(self) -> float:
        """Trains on one batch; returns its loss."""
        begin = time.monotonic()
        for group in self._optimizer.param_groups:
            group["lr"] = self.options.lr * self._rate()
        batch = self._batches.draw(self._rng)
        context, anchor = batch.context.to(self.device), batch.anchor.to(self.device)
        pixels = normalise(batch.pixels.to(self.device), self.clip.card, torch.float32)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            image = self.clip.image_features(pixels)
        loss = batch_loss(
            self.options.loss,
            image.float(),
            self._text_features,
            self._tokens,
            context,
            anchor,
            self.clip.scale,
            self.options.smoothing,
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.clip.module.parameters(), CLIP_NORM)
        self._optimizer.step()
        with torch.no_grad():
            cast("torch.Tensor", self.clip.module.logit_scale).clamp_(0, math.log(MAX_SCALE))
        self.steps += 1
        self._update_average()
        self.seconds += time.monotonic() - begin
        return loss.item()

    def weights(self) -> dict[str, torch.Tensor]:
        """The state dictionary to keep: the moving average where there is one; on the CPU."""
        state = {**self.clip.module.state_dict(), **self._average}
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    @torch.no_grad()
    def probabilities(self, pictures: Pictures, batch: int = 128) -> NDArray[np.float32]:
        """Probabilities of the 30 anchors with the weights to keep: (N, 30) float32."""
        module = self.clip.module
        own = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.load_state_dict({**own, **self._average})
        module.eval()
        text = self._text_features(self._tokens.flatten(0, 1)).view(*self._tokens.shape[:2], -1)
        parts = []
        for begin in range(0, len(pictures), batch):
            rows = np.arange(begin, min(begin + batch, len(pictures)))
            pixels = torch.from_numpy(read(pictures, rows, self.clip.card)).to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                image = self.clip.image_features(normalise(pixels, self.clip.card, torch.float32))
            own_text = text[torch.from_numpy(pictures.context[rows]).to(self.device)]
            logits = self.clip.scale * torch.einsum("bd,bad->ba", image.float(), own_text)
            parts.append(logits.softmax(dim=-1).cpu().numpy())
        module.load_state_dict(own)
        module.train()
        return np.concatenate(parts)

    def save(self, directory: Path) -> None:
        """Writes what :meth:`resume` needs, in one step."""
        tensors = {f"model.{n}": t for n, t in self.clip.module.state_dict().items()}
        tensors |= {f"average.{n}": t for n, t in self._average.items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{n}": torch.as_tensor(t) for n, t in state.items()}
        form = {
            "steps": self.steps,
            "seconds": self.seconds,
            "history": self.history,
            "rng": self._rng.bit_generator.state,
            "settings": self._settings(),
        }
        staging = directory / f".{CHECKPOINT}.{os.getpid()}"
        contiguous = {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}
        staging.write_bytes(to_bytes(contiguous, metadata={"state": json.dumps(form)}))
        staging.replace(directory / f"{CHECKPOINT}.safetensors")

    def resume(self, directory: Path) -> bool:
        """Continues from a checkpoint; False where there is none.

        Raises:
            InvalidArgumentError: The run was started with other settings.
        """
        path = directory / f"{CHECKPOINT}.safetensors"
        if not path.exists():
            return False
        with safe_open(path, "pt") as file:
            form = json.loads(file.metadata()["state"])
        if form["settings"] != self._settings():
            names = [n for n, v in self._settings().items() if form["settings"].get(n) != v]
            raise InvalidArgumentError(f"the run in {directory} was started with another --{names[0]}")
        tensors = load_file(path)
        begin = "model."
        self.clip.module.load_state_dict(
            {n[len(begin) :]: t for n, t in tensors.items() if n.startswith(begin)}
        )
        self._average = {n: tensors[f"average.{n}"].to(self.device) for n in self._average}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, item = name.split(".", 2)
                state.setdefault(int(number), {})[item] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._rng.bit_generator.state = form["rng"]
        self.steps, self.seconds, self.history = form["steps"], form["seconds"], form["history"]
        return True

    def _settings(self) -> dict[str, Any]:
        names = ("model", "loss", "batch", "lr", "weight_decay", "image_size", "seed", "average", "balance")
        return {name: getattr(self.options, name) for name in names}

    def _rate(self) -> float:
        """Share of the peak learning rate: linear up, then half a cosine down."""
        warm = min(1.0, (self.steps + 1) / max(self.options.warmup, 1))
        return warm * 0.5 * (1 + math.cos(math.pi * self.progress))

    def _text_features(self, tokens: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.clip.text_features(tokens).float()

    def _floats(self) -> list[tuple[str, torch.Tensor]]:
        return [(n, t) for n, t in self.clip.module.state_dict().items() if t.is_floating_point()]

    def _update_average(self) -> None:
        decay = min(self.options.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for name, tensor in self._floats() if self._average else []:
                self._average[name].lerp_(tensor.float(), 1 - decay)
