"""The tokenizer of the small model: bytes, and a word for everything that the prompt and its answer are made of.

A prompt takes about 35 tokens and an answer 8, so that most of the arithmetic goes into looking at the picture. Any
other text still works, byte by byte. Needs ``tokenizers``.
"""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from codriver.coaching.vocabulary import COMMANDS

PAD, END, USER, COACH = "<|pad|>", "<|end|>", "<|user|>", "<|coach|>"
IMAGE = "<image>"
SPECIAL = (PAD, END, USER, COACH, IMAGE)

VALUES: dict[str, float] = {f" {n / 100:.2f}": n / 100 for n in range(-100, 101)}
"""Numbers of answers, -1.00 to 1.00, each one word with the space before it."""
SPEEDS: dict[str, float] = {f" {n / 10:.1f}": n / 10 for n in range(150)}
"""Speeds of prompts, 0.0 to 14.9 m/s; faster or backwards is spelt out."""
_SENTENCES = (
    "\n",
    "You are a driving agent in a simulated environment.\nCurrent speed:",
    " m/s.\nForward vector: (",
    ", ",
    ').\nNavigation command: "',
    *COMMANDS,
    '".\nBased on the visual input and state information, predict the next action.\n'
    "Return the action in the following JSON format:\n"
    '{"throttle": float, "steer": float, "brake": float}',
    '{"throttle":',
    ', "steer":',
    ', "brake":',
    "}",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|user|>' if message['role'] == 'user' else '<|coach|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\\n' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] != 'user' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|coach|>' }}{% endif %}"
)


def build_tokenizer() -> Any:
    """Returns the tokenizer as a ``PreTrainedTokenizerFast`` that pads on the left."""
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={byte: n for n, byte in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    core.add_tokens([AddedToken(word, normalized=False) for word in _SENTENCES])
    # A whole word only: " 3.2" is not the beginning of " 3.20".
    core.add_tokens([AddedToken(word, normalized=False, single_word=True) for word in (*VALUES, *SPEEDS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": IMAGE},
    )


def knows_words(tokenizer: Any) -> bool:
    """Whether a tokenizer is the small model's: every number of an answer is one of its words."""
    vocabulary = tokenizer.get_vocab()
    return all(word in vocabulary for word in VALUES)
