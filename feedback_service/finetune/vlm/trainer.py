"""The optimisation: AdamW with a warm-up and a cosine, an average of the weights, and steps that can be resumed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from feedback_service.finetune.vlm.encoding import IGNORED
from feedback_service.finetune.vlm.loss import ANSWER_WORDS, AnswerLoss

_AVERAGE = 0.998
_WARM_UP = 0.04
_GRADIENT_NORM = 1.0


class Trainer:
    """Trains a model on answers.

    Args:
        model: A model of ``AutoModelForImageTextToText``.
        rate: Greatest learning rate.
        loss: The loss of number words; None: cross-entropy, for any tokenizer.
        bf16: Computes in bfloat16 where it is safe (autocast).
    """

    def __init__(self, model: Any, rate: float, loss: AnswerLoss | None, bf16: bool) -> None:
        self.model = model
        self._loss = loss
        self._rate = rate
        self._bf16 = bf16
        self.steps = 0
        named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
        decayed = [value for _, value in named if value.ndim > 1]
        rest = [value for _, value in named if value.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
        self._names = [name for name, _ in named]
        self._values = [value for _, value in named]
        self._mean = [value.detach().clone() for value in self._values]

    def step(self, inputs: dict[str, torch.Tensor], labels: torch.Tensor, share: float) -> dict[str, float]:
        """One step.

        Args:
            inputs: Of the encoder.
            labels: Of the encoder.
            share: How much of the training is over, 0 to 1.

        Returns:
            The loss and its parts.
        """
        self.model.train()
        rate = (
            self._rate
            * min(1.0, (share + 1e-3) / _WARM_UP)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        device = self._values[0].device
        inputs = {name: value.to(device) for name, value in inputs.items()}
        labels = labels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            hidden = self.model.base_model(**inputs, use_cache=False).last_hidden_state
            # A word is predicted where the one before it stands.
            wanted = labels[:, 1:] != IGNORED
            logits = self.model.get_output_embeddings()(hidden[:, :-1][wanted]).float()
        answers = labels[:, 1:][wanted]
        parts: dict[str, torch.Tensor] = {}
        if self._loss is None:
            loss = torch.nn.functional.cross_entropy(logits, answers)
        else:
            loss, parts = self._loss(
                logits.view(-1, ANSWER_WORDS, logits.shape[-1]), answers.view(-1, ANSWER_WORDS)
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._values, _GRADIENT_NORM)
        self._optimizer.step()
        self.steps += 1
        keep = min(_AVERAGE, 1 - 1 / (self.steps / 10 + 1))
        with torch.no_grad():
            torch._foreach_lerp_(self._mean, [value.detach() for value in self._values], 1 - keep)
        return {"loss": loss.item(), **{name: part.item() for name, part in parts.items()}}

    def take_average(self) -> None:
        """Gives the model the averaged weights; training is over then."""
        with torch.no_grad():
            for value, mean in zip(self._values, self._mean):
                value.copy_(mean)

    def save(self, directory: Path, facts: dict[str, Any]) -> None:
        """Writes what :meth:`load` needs: weights, their average, the optimizer's moments, and facts."""
        tensors = {}
        for name, value, mean in zip(self._names, self._values, self._mean):
            tensors[f"value/{name}"], tensors[f"mean/{name}"] = value.detach(), mean
            for key in ("exp_avg", "exp_avg_sq"):
                if value in self._optimizer.state:
                    tensors[f"{key}/{name}"] = self._optimizer.state[value][key]
        directory.mkdir(parents=True, exist_ok=True)
        staging = directory / "state.safetensors.new"
        save_file({name: value.contiguous() for name, value in tensors.items()}, str(staging))
        staging.replace(directory / "state.safetensors")
        (directory / "state.json").write_text(json.dumps({"steps": self.steps, **facts}) + "\n")

    def load(self, directory: Path) -> dict[str, Any]:
        """Takes over what :meth:`save` wrote and returns the facts."""
        tensors = load_file(str(directory / "state.safetensors"))
        facts = json.loads((directory / "state.json").read_text())
        self.steps = int(facts["steps"])
        with torch.no_grad():
            for name, value, mean in zip(self._names, self._values, self._mean):
                value.copy_(tensors[f"value/{name}"])
                mean.copy_(tensors[f"mean/{name}"])
                if f"exp_avg/{name}" in tensors:
                    moments = {
                        key: tensors[f"{key}/{name}"].to(value.device) for key in ("exp_avg", "exp_avg_sq")
                    }
                    self._optimizer.state[value] = {"step": torch.tensor(float(self.steps)), **moments}
        return dict(facts)
