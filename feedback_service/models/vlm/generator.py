"""Answers of vision-language models: any image-text-to-text checkpoint directory of ``transformers``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from feedback_service.models.device import choose_device
from feedback_service.models.vlm.chat import chat_text
from feedback_service.models.vlm.constrained import AnswerFormat
from feedback_service.models.vlm.loading import choose_dtype, load_checkpoint
from feedback_service.models.vlm.pictures import PictureError, open_picture


class VlmGenerator:
    """A vision-language model that answers questions about pictures, greedily and in batches.

    Args:
        directory: Checkpoint directory: config, safetensors, processor and tokenizer. Nothing is downloaded, and no
            code of it runs.
        device: As torch names it; None: CUDA where there is one, else the CPU.
        dtype: "bfloat16", "float16" or "float32"; None: bfloat16 where the device computes in it, else float32.
        threads: Of torch, on the CPU.
        max_new_tokens: Answers are cut after so many.
        constrained: True lets only the answer format through.

    Attributes:
        family: The checkpoint's ``model_type``.
        parameters: How many the model has.

    Raises:
        CheckpointError: The directory cannot be loaded.
    """

    def __init__(
        self,
        directory: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        threads: int = 1,
        max_new_tokens: int = 32,
        constrained: bool = False,
    ) -> None:
        torch.set_num_threads(threads)
        self._device = choose_device(device)
        kind = choose_dtype(dtype, self._device)
        model, self._processor = load_checkpoint(Path(directory), kind)
        self._model = model.to(self._device)
        self._dtype = kind
        self.family = str(model.config.model_type)
        self.parameters = sum(value.numel() for value in model.parameters())
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._format = AnswerFormat(tokenizer) if constrained else None
        # Greedy, whatever the checkpoint's own generation_config.json samples with.
        self._options: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "do_sample": False,
            "num_beams": 1,
            "temperature": None,
            "top_p": None,
            "top_k": None,
            "pad_token_id": tokenizer.pad_token_id,
            "logits_processor": [self._format] if self._format else None,
        }

    def answer(self, pictures: Sequence[bytes], prompts: Sequence[str]) -> tuple[list[str], list[str]]:
        """Answers rows; a row that cannot be answered does not touch the others.

        Args:
            pictures: B PNG files.
            prompts: B questions.

        Returns:
            B texts as generated, without the prompt, and B errors; an empty error is none.
        """
        if len(pictures) != len(prompts):
            raise ValueError(f"{len(pictures)} pictures for {len(prompts)} prompts")
        texts, errors = [""] * len(prompts), [""] * len(prompts)
        rows, opened = [], []
        for row, picture in enumerate(pictures):
            try:
                opened.append(open_picture(picture))
                rows.append(row)
            except PictureError as error:
                errors[row] = str(error)
        for row, said in zip(rows, self._answers(opened, [prompts[row] for row in rows])):
            if isinstance(said, str):
                texts[row] = said
            else:
                errors[row] = f"{type(said).__name__}: {str(said)[:200]}"
        return texts, errors

    def _answers(self, pictures: list[Image.Image], prompts: list[str]) -> list[str | Exception]:
        if not pictures:
            return []
        try:
            return list(self._generate(pictures, prompts))
        except (ValueError, RuntimeError, IndexError, TypeError, KeyError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            if len(pictures) == 1:
                return [error]
        # Some row does not suit the model: only that one is to fail.
        return [self._answers([picture], [prompt])[0] for picture, prompt in zip(pictures, prompts)]

    @torch.inference_mode()
    def _generate(self, pictures: list[Image.Image], prompts: list[str]) -> list[str]:
        inputs = self._processor(
            images=[[picture] for picture in pictures],
            text=[chat_text(self._processor, prompt) for prompt in prompts],
            padding=True,
            return_tensors="pt",
        )
        inputs = inputs.to(self._device, dtype=self._dtype)
        length = inputs["input_ids"].shape[1]
        if self._format:
            self._format.begin(length)
        said = self._model.generate(**inputs, **self._options)[:, length:]
        texts: list[str] = self._processor.tokenizer.batch_decode(
            said, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts
