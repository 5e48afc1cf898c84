"""Checkpoints of a few hundred kilobytes in real architectures of transformers, with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from codriver.coaching.vocabulary import all_captions
from feedback_service.models import torchvision_shim
from feedback_service.models.vlm.loading import spare_number_words

torchvision_shim.install()

SIZE = 64
"""Pictures are resized to SIZE x SIZE."""
_SPECIAL = ("<pad>", "<bos>", "<eos>")
_CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def tokenizer(*special: str, image_token: str = "<image>", **named: str) -> Any:
    """A byte-level BPE of about 600 tokens."""
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = [*all_captions()[::30], '{"throttle": 0.50, "steer": -0.12, "brake": 0.00}']
    core.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    core.add_special_tokens(
        [AddedToken(t, special=True) for t in (*_SPECIAL, image_token, *special, *named.values())]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        extra_special_tokens={"image_token": image_token, **named},
    )


def _text(words: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        **more,
    }


_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_SQUARE = {"height": SIZE, "width": SIZE}


def llava() -> tuple[Any, Any]:
    """LLaVA: a CLIP tower, and no chat template."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = tokenizer()
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=SIZE, patch_size=16, projection_dim=32, **_VISION),
        text_config=LlamaConfig(**_text(words)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-1,
    )
    look = CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=_SQUARE)
    processor = LlavaProcessor(
        look, words, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    return LlavaForConditionalGeneration(config), processor


def internvl() -> tuple[Any, Any]:
    """InternVL3."""
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
        Qwen2Config,
    )
    from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

    words = tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(image_size=SIZE, patch_size=16, **_VISION),
        text_config=Qwen2Config(**_text(words)),
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=_SQUARE, crop_to_patches=False),
        words,
        InternVLVideoProcessor(size=_SQUARE),
        image_seq_length=4,
        chat_template=_CHAT.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    return InternVLForConditionalGeneration(config), processor


def qwen2_5_vl() -> tuple[Any, Any]:
    """Qwen2.5-VL."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    start, end, image, video = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
    words = tokenizer(start, end, image_token=image, video_token=video)
    number = words.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        text_config=_text(
            words,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        ),
        image_token_id=number(image),
        video_token_id=number(video),
        vision_start_token_id=number(start),
        vision_end_token_id=number(end),
    )
    pixels = {"shortest_edge": 56 * 56, "longest_edge": 84 * 84}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=pixels, patch_size=14),
        words,
        Qwen2VLVideoProcessor(size=pixels, patch_size=14),
        chat_template=_CHAT.replace("IMAGE", f"{start}{image}{end}"),
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def idefics3() -> tuple[Any, Any]:
    """Idefics3, the family of SmolVLM."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
        LlamaConfig,
    )

    words = tokenizer("<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    processor = Idefics3Processor(
        Idefics3ImageProcessor(
            size={"longest_edge": SIZE}, max_image_size={"longest_edge": SIZE}, do_image_splitting=False
        ),
        words,
        image_seq_len=4,
        chat_template=_CHAT.replace("IMAGE", "<image>"),
    )
    config = Idefics3Config(
        vision_config={"image_size": SIZE, "patch_size": 16, **_VISION},
        text_config=LlamaConfig(**_text(words)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=words.pad_token_id,
    )
    return Idefics3ForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    """SmolVLM."""
    from transformers import (
        LlamaConfig,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    spare_number_words()
    words = tokenizer(
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )
    edge = {"longest_edge": SIZE}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False),
        words,
        SmolVLMVideoProcessor(
            size=edge,
            max_image_size=edge,
            video_sampling={"fps": 1, "max_frames": 4, "video_size": edge},
        ),
        image_seq_len=4,
        chat_template=_CHAT.replace("IMAGE", "<image>"),
    )
    config = SmolVLMConfig(
        vision_config={"image_size": SIZE, "patch_size": 16, **_VISION},
        text_config=LlamaConfig(**_text(words)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=words.pad_token_id,
    )
    return SmolVLMForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "idefics3": idefics3,
    "internvl": internvl,
    "llava": llava,
    "qwen2_5_vl": qwen2_5_vl,
    "smolvlm": smolvlm,
}


def write(family: str, directory: Path) -> Path:
    """Writes a checkpoint of a family and returns its directory."""
    import torch

    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    # Louder weights: with the usual small ones every answer would be the same token for ever.
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:
                value.mul_(4)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
