"""Constrained decoding: lets a model say nothing but the answer format, whatever it was taught.

Off by default, since it hides the malformed answers that the paper counts as unavailable. The format is small enough
for a machine of a few hundred states; which tokens a state allows is found once, when the state is first met.
"""

from __future__ import annotations

from typing import Any

import torch

from feedback_service.coaches.prompt import KEYS

_Segment = tuple[frozenset[str], frozenset[str]]
"""Texts of which one has to come, and all their beginnings."""
_State = tuple[int, str]
"""Segment, and what of it has been said."""


def _segment(texts: list[str]) -> _Segment:
    return frozenset(texts), frozenset(text[:n] for text in texts for n in range(len(text) + 1))


def _answer_format() -> list[_Segment]:
    """``{"throttle": 0.40, "steer": -0.03, "brake": 0.00}``: numbers of two decimals inside their ranges."""
    positive = [f"{n / 100:.2f}" for n in range(101)]
    signed = positive + [f"-{text}" for text in positive[1:]]
    segments = []
    for n, key in enumerate(KEYS):
        segments += [
            _segment([("{" if n == 0 else ", ") + f'"{key}": ']),
            _segment(signed if key == "steer" else positive),
        ]
    return [*segments, _segment(["}"])]


class AnswerFormat:
    """A logits processor of ``transformers`` that only lets the answer format through.

    Args:
        tokenizer: The model's tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._segments = _answer_format()
        self._end = int(tokenizer.eos_token_id)
        # What a token adds to a text, which for some tokenizers is not what it decodes to alone.
        anchor = tokenizer.encode("{", add_special_tokens=False)[-1]
        before = len(tokenizer.decode([anchor]))
        pairs = [[anchor, token] for token in range(len(tokenizer))]
        self._texts = [text[before:] for text in tokenizer.batch_decode(pairs)]
        for token in tokenizer.all_special_ids:
            self._texts[token] = ""
        self._allowed: dict[_State, torch.Tensor] = {}
        self._prompt = 0

    def begin(self, prompt_tokens: int) -> None:
        """A batch begins whose prompts, padded, have so many tokens."""
        self._prompt = prompt_tokens

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (N, words) with -inf for what the format does not allow after `input_ids` (N, tokens)."""
        rows = []
        for said in input_ids[:, self._prompt :].tolist():
            state = self._walk((0, ""), "".join(self._texts[token] for token in said if token != self._end))
            rows.append(self._mask(state or (len(self._segments), ""), scores.shape[1]))
        return scores.masked_fill(~torch.stack(rows).to(scores.device), -torch.inf)

    def _mask(self, state: _State, words: int) -> torch.Tensor:
        if state not in self._allowed:
            mask = torch.zeros(words, dtype=torch.bool)
            if state[0] < len(self._segments):
                fits = [
                    n for n, text in enumerate(self._texts) if text and self._walk(state, text) is not None
                ]
                mask[fits] = True
            else:
                mask[self._end] = True
            self._allowed[state] = mask
        return self._allowed[state]

    def _walk(self, state: _State, text: str) -> _State | None:
        """The state after a text, or None where the format does not allow it."""
        number, said = state
        for letter in text:
            if number == len(self._segments) or said + letter not in self._segments[number][1]:
                return None
            said += letter
            if said in self._segments[number][0]:
                number, said = number + 1, ""
        return number, said
