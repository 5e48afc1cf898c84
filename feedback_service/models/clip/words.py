"""A tokenizer of whole words, for models that need the words of the 720 captions and no others.

open_clip's tokenizer has 49,408 tokens, and a table of their vectors is most of a small model. The captions are made
of some forty words, so that a model trained on nothing else keeps its own list in its card.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from codriver.coaching.vocabulary import all_captions
from feedback_service.models.clip.card import CardError

_WORD = re.compile(r"[a-z]+|[.:]")
PAD = 0


def caption_words() -> tuple[str, ...]:
    """Every word of the 720 captions once, in alphabetical order; the full stop and the colon count as words."""
    return tuple(sorted({word for text in all_captions() for word in _WORD.findall(text.lower())}))


class WordTokenizer:
    """Texts to tokens: 0 pads, then the words, and the greatest token ends a text (open_clip pools there).

    Args:
        words: The vocabulary; a word's token is its place in it plus 1.
        context_length: Tokens of a text, the end included.
    """

    def __init__(self, words: Sequence[str], context_length: int) -> None:
        self._tokens = {word: number for number, word in enumerate(words, 1)}
        self._end = len(words) + 1
        self._length = context_length

    @property
    def size(self) -> int:
        """Number of tokens: the words, the padding and the end."""
        return self._end + 1

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Tokens of texts, (N, context_length) int64.

        Raises:
            CardError: A word is not in the vocabulary, or a text is too long.
        """
        rows = torch.full((len(texts), self._length), PAD, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            words = _WORD.findall(text.lower())
            unknown = [word for word in words if word not in self._tokens]
            if unknown:
                raise CardError(f"the vocabulary lacks the word {unknown[0]!r}")
            if len(words) >= self._length:
                raise CardError(f"a text has {len(words)} words; context_length {self._length} is too short")
            tokens = [*(self._tokens[word] for word in words), self._end]
            row[: len(tokens)] = torch.tensor(tokens)
        return rows
