"""A small vision-language model in the FastVLM architecture, made of classes of ``transformers`` alone.

2.6 M parameters: a ConvNeXt tower (36 features of a 192 x 192 picture), a projector, and a Qwen 2 decoder of 4
layers. Convolutions see the edges of a flat-coloured picture with far less arithmetic than a transformer's patches
do, and the decoder is small because the answer is short. Needs ``transformers``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from codriver.driving import PICTURE_SIZE_PX
from feedback_service.finetune.vlm.words import CHAT_TEMPLATE, IMAGE, SPEEDS, VALUES, build_tokenizer

MEAN = STD = 0.5
_STRIDE_PX = 32
_TOWER = (32, 64, 128, 256)
_LAYERS = (1, 1, 3, 1)
_WIDTH = 160
_IMAGE_TOKENS = (PICTURE_SIZE_PX // _STRIDE_PX) ** 2


def build_small(seed: int) -> tuple[Any, Any]:
    """Returns a new model with random weights and its processor.

    Args:
        seed: Of the weights.
    """
    from transformers import ConvNextConfig, FastVlmConfig, FastVlmForConditionalGeneration, Qwen2Config

    torch.manual_seed(seed)
    processor = build_processor()
    tokenizer = processor.tokenizer
    vision = ConvNextConfig(
        hidden_sizes=list(_TOWER),
        depths=list(_LAYERS),
        image_size=PICTURE_SIZE_PX,
        layer_scale_init_value=0.2,
    )
    vision.hidden_size = _TOWER[-1]  # FastVLM's projector asks its tower's configuration for it
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        num_hidden_layers=4,
        intermediate_size=448,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    config = FastVlmConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=_IMAGE_TOKENS,
        tie_word_embeddings=True,
    )
    model = FastVlmForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    _order_numbers(model.get_input_embeddings().weight, tokenizer, seed)
    return model, processor


def build_processor() -> Any:
    """Returns the processor: the tokenizer, and pictures scaled to 192 x 192 with values -1 to 1."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    size = {"height": PICTURE_SIZE_PX, "width": PICTURE_SIZE_PX}
    pictures = CLIPImageProcessor(
        size=size, crop_size=size, do_center_crop=False, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=build_tokenizer(),
        patch_size=_STRIDE_PX,
        vision_feature_select_strategy="full",
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def _order_numbers(embeddings: torch.Tensor, tokenizer: Any, seed: int) -> None:
    """Begins with embeddings of numbers that change smoothly with the number.

    What is learned of one number then holds for the next one. Input and output embeddings are the same tensor.
    """
    random = np.random.default_rng(seed)
    width = embeddings.shape[1]
    for words, longest in ((VALUES, 4.0), (SPEEDS, 30.0)):
        numbers = np.array(list(words.values()))
        angles = 2 * np.pi * numbers[:, None] / (longest * 0.5 ** np.arange(7))
        waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1) / np.sqrt(7)
        smooth = waves @ random.normal(size=(waves.shape[1], width)) * 0.02
        ids = [tokenizer.convert_tokens_to_ids(word) for word in words]
        with torch.no_grad():
            embeddings[ids] = torch.tensor(smooth, dtype=embeddings.dtype)
