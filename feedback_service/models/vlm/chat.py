"""How a question about one picture is put to a processor."""

from __future__ import annotations

from typing import Any


def chat_text(processor: Any, prompt: str) -> str:
    """The text of one question, up to where the answer begins, with the family's token where the picture goes.

    Args:
        processor: A processor of ``transformers``. Without a chat template the picture's token stands before the
            prompt.
        prompt: What is asked.
    """
    if getattr(processor, "chat_template", None):
        parts = [{"type": "image"}, {"type": "text", "text": prompt}]
        turn = [{"role": "user", "content": parts}]
        return str(processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))
    token = getattr(processor, "image_token", None) or getattr(processor.tokenizer, "image_token", None)
    if token is None:
        raise ValueError("the processor has neither a chat template nor an image token")
    return f"{token}\n{prompt}\n"
