"""The loss of answers whose numbers are words: what is right is the class of driving first, then the number.

Greedy decoding takes the likeliest word. Plain cross-entropy is content when the words of the right class are likely
*together*; a class of fifty numbers then loses against a class of five whenever the picture is not quite clear. So
beside the cross-entropy over words there is one over classes, in which a class is as likely as its likeliest word
(a smooth maximum). Numbers near the expert's count partly as right. What is left of the sampler's imbalance is taken
out by adding the logarithm of the classes' shares while training (logit adjustment, Menon et al., 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codriver.coaching.vocabulary import LATERAL, lateral_index, longitudinal_index
from feedback_service.finetune.vlm.words import VALUES

_SHARPNESS = 3.0
_NEAR = 0.02
_NUMBER_PLACES = (1, 3, 5)
"""Where throttle, steer and brake stand among the words of an answer."""
ANSWER_WORDS = 8
_LAST_IDLE = list(VALUES).index(" 0.05")


@dataclass(frozen=True)
class _Place:
    """A number of the answer.

    Attributes:
        soft: (V, V) float: row n is how right each word is when word n was the expert's.
        group: (V,) int64 class of each word; -1: no word of this place.
        shift: (G,) float: logarithm of how much more often a class is drawn than it is to count.
    """

    soft: torch.Tensor
    group: torch.Tensor
    shift: torch.Tensor


class AnswerLoss:
    """The loss of answers of eight words: three keys, three numbers, a brace and the end.

    Args:
        tokenizer: The tokenizer of the small model.
        longitudinal: (6,) shares of the longitudinal classes among the rows that are drawn.
        lateral: (5,) shares of the lateral classes.
    """

    def __init__(
        self, tokenizer: Any, longitudinal: NDArray[np.float64], lateral: NDArray[np.float64]
    ) -> None:
        self._ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(VALUES)))
        self._index = torch.full((len(tokenizer),), -1, dtype=torch.int64)
        self._index[self._ids] = torch.arange(len(VALUES))
        values = np.array(list(VALUES.values()), np.float32)
        zero = np.zeros_like(values)
        # Whoever does not press the throttle brakes, brakes hard or idles: one class until the brake is said.
        throttle = longitudinal_index(np.column_stack([values, zero, zero])) - 2
        brake = np.array([2, 1, 0, 0, 0, 0])[longitudinal_index(np.column_stack([zero, zero, values]))]
        steer = lateral_index(np.column_stack([zero, values, zero]))
        hard, braking, fast, accelerating, gently, idling = longitudinal
        self._places: tuple[_Place, ...] = (
            _place(
                values,
                np.where(values < 0, -1, throttle),
                [fast, accelerating, gently, hard + braking + idling],
                [1, 1, 1, 2],
            ),
            _place(values, steer, list(lateral), [1] * len(LATERAL)),
            # An emergency stop that was not asked for disturbs more than plain braking in its place.
            _place(values, np.where(values < 0, -1, brake), [idling, braking, hard], [1, 1, 0.4]),
        )

    def to(self, device: torch.device) -> AnswerLoss:
        """Moves what it compares with to a device, and returns itself."""
        self._ids, self._index = self._ids.to(device), self._index.to(device)
        self._places = tuple(
            _Place(place.soft.to(device), place.group.to(device), place.shift.to(device))
            for place in self._places
        )
        return self

    def __call__(
        self, logits: torch.Tensor, answers: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss, and its parts for the record.

        Args:
            logits: (N, 8, words) float32 for each word of the answers.
            answers: (N, 8) int64 their words.
        """
        shape = [n for n in range(ANSWER_WORDS) if n not in _NUMBER_PLACES]
        parts = {
            "shape": torch.nn.functional.cross_entropy(
                logits[:, shape].flatten(0, 1), answers[:, shape].flatten()
            )
        }
        pressed = self._index[answers[:, 1]] > _LAST_IDLE
        for name, place, position in zip(("throttle", "steer", "brake"), self._places, _NUMBER_PLACES):
            words, classes = self._number(place, logits[:, position], self._index[answers[:, position]])
            if name == "brake":  # beside a pressed throttle it is 0.00, which is no decision
                classes = classes * ~pressed
            parts[name] = words.mean()
            parts[f"{name} class"] = classes.mean()
        return torch.stack(list(parts.values())).sum(), {name: part.detach() for name, part in parts.items()}

    def _number(
        self, place: _Place, logits: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,) cross-entropy over words and (N,) over classes."""
        usable = place.group >= 0
        shift = torch.where(usable, place.shift[place.group.clamp(min=0)], 0.0)
        # The other words of the vocabulary compete too, or the first free answer would be any of them.
        adjusted = logits.clone()
        adjusted[:, self._ids] = logits[:, self._ids] + shift
        log_likely = adjusted.log_softmax(dim=-1)[:, self._ids]
        words = -(place.soft[target] * log_likely).sum(dim=-1)
        numbers = logits[:, self._ids] * _SHARPNESS
        members = (
            torch.nn.functional.one_hot(place.group.clamp(min=0), len(place.shift)).bool() & usable[:, None]
        )
        classes = torch.where(members[None], numbers[:, :, None], -torch.inf).logsumexp(dim=1) / _SHARPNESS
        return words, torch.nn.functional.cross_entropy(
            classes + place.shift, place.group[target], reduction="none"
        )


def _place(
    values: NDArray[np.float32], group: NDArray[np.int64], shares: list[float], wanted: list[float]
) -> _Place:
    near = np.exp(-0.5 * ((values[:, None] - values[None]) / _NEAR) ** 2)
    near *= (group[:, None] == group[None]) & (group >= 0)[None]
    near /= np.maximum(near.sum(axis=1, keepdims=True), 1e-9)
    drawn, counted = np.array(shares), np.array(wanted, float)
    there = drawn > 0  # a class without rows gets no advantage for being rare
    shift = np.zeros(len(drawn))
    shift[there] = np.log(drawn[there] / drawn[there].sum()) - np.log(counted[there] / counted[there].sum())
    return _Place(
        torch.tensor(near, dtype=torch.float32), torch.tensor(group), torch.tensor(shift, dtype=torch.float32)
    )
