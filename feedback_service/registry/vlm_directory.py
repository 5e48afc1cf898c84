"""A directory as a vision-language model: a transformers checkpoint that turns a picture and text into text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedback_service.registry.refusal import NotAModelError, read_json_object
from feedback_service.registry.weights_file import WeightsFile, read_weights_file

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_NOT_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt")
_KNOWN = ("idefics3", "internvl", "llava", "llava_next", "qwen2_5_vl", "qwen3_vl", "smolvlm")
_PICTURE_WORDS = ("vision", "visual", "vit", "vq_config", "image_token", "perceiver")
"""One of them stands in a key of the ``config.json`` of every model of transformers that reads pictures."""


def inspect_vlm(directory: Path) -> tuple[str, int]:
    """Checks a checkpoint directory.

    Args:
        directory: What ``save_pretrained`` of a model and of its processor wrote.

    Returns:
        The family (its ``model_type``), and the number of parameters.

    Raises:
        NotAModelError: It cannot be served; the message names what is missing or wrong, and the way out.
    """
    _refuse_rwkv_files(directory)
    if not (directory / "config.json").exists() and (directory / "adapter_config.json").exists():
        raise NotAModelError(
            f"{directory.name} is an adapter (LoRA), not a whole model",
            hint="Merge it into its base model first, as `llamafactory-cli export` does.",
        )
    config = read_json_object(directory / "config.json")
    family = _family(config)
    parameters = sum(weights.parameters for weights in _read_weights(directory))
    _check_processor(directory)
    return family, parameters


def _family(config: Mapping[str, Any]) -> str:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise NotAModelError("config.json names no model_type, so it is not a transformers checkpoint")
    architectures = config.get("architectures")
    names = [model_type, *(architectures if isinstance(architectures, list) else [])]
    if any("rwkv" in str(name).lower() for name in names):
        raise _rwkv()
    # What transformers knows itself may still name the code from which it came; that is not needed then.
    if "auto_map" in config and model_type not in _KNOWN:
        hint = "Convert it to the format that transformers loads by itself."
        if model_type == "internvl_chat":
            hint = "InternVL publishes the same weights for transformers: take the checkpoint whose name ends in -hf."
        raise NotAModelError(
            f"model_type {model_type!r} brings Python code of its own (auto_map), which is never run",
            hint=hint,
        )
    if not any(word in key for key in config for word in _PICTURE_WORDS) and model_type != "fuyu":
        raise NotAModelError(f"model_type {model_type!r} reads text only; a coach has to see the picture")
    return model_type


def _read_weights(directory: Path) -> list[WeightsFile]:
    if (directory / _WEIGHTS).exists():
        return [read_weights_file(directory / _WEIGHTS)]
    if (directory / _INDEX).exists():
        return _read_shards(directory)
    if stray := sorted(directory.glob("model-*-of-*.safetensors")):
        raise NotAModelError(f"there is {stray[0].name}, but no {_INDEX}: the checkpoint is not complete")
    pickles = [
        path.name for kind in _PICKLES for path in directory.glob(kind) if path.name not in _NOT_WEIGHTS
    ]
    if pickles:
        raise NotAModelError(
            f"the weights are a pickle ({sorted(pickles)[0]}), which can run any code when it is read",
            hint="Convert it to safetensors: load it where you trust it, and save_pretrained(DIR).",
        )
    if any(directory.glob("*.gguf")):
        raise NotAModelError(
            "the weights are in GGUF, which is not supported", hint="Take the safetensors checkpoint."
        )
    raise NotAModelError(f"there is no {_WEIGHTS} and no {_INDEX} in {directory}")


def _read_shards(directory: Path) -> list[WeightsFile]:
    weight_map = read_json_object(directory / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise NotAModelError(f"{_INDEX} has no weight_map")
    shards = {}
    for name in sorted({str(file) for file in weight_map.values()}):
        if Path(name).name != name:
            raise NotAModelError(f"{_INDEX} names {name!r}, which is outside of the directory")
        if not (directory / name).exists():
            raise NotAModelError(f"{name} is missing: the checkpoint is not complete")
        shards[name] = read_weights_file(directory / name)
    for tensor, file in weight_map.items():
        if tensor not in shards[str(file)].shapes:
            raise NotAModelError(f"{file} does not hold {tensor!r}: it does not belong to {_INDEX}")
    return list(shards.values())


def _check_processor(directory: Path) -> None:
    def there(*names: str) -> bool:
        return all((directory / name).exists() for name in names)

    if not (there("preprocessor_config.json") or there("processor_config.json")):
        raise NotAModelError(
            f"there is no preprocessor_config.json or processor_config.json in {directory}",
            hint="Save the processor beside the model: processor.save_pretrained(DIR).",
        )
    if not (there("tokenizer.json") or there("tokenizer.model") or there("vocab.json", "merges.txt")):
        raise NotAModelError(
            f"there is no tokenizer (tokenizer.json) in {directory}",
            hint="Save the processor beside the model: processor.save_pretrained(DIR).",
        )


def _refuse_rwkv_files(directory: Path) -> None:
    if (directory / "config.json").exists():
        return
    if any("rwkv" in path.name.lower() for path in directory.glob("*.pth")):
        raise _rwkv()


def _rwkv() -> NotAModelError:
    return NotAModelError(
        "Visual RWKV is not a model that transformers loads; its own code and CUDA kernels would have to run",
        hint="Serve it behind Triton yourself, by the tensor contract of a coach model, and name it with --coach.",
    )
