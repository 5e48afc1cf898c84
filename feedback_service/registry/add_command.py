"""``codriver models add``: check a checkpoint directory and take it into the store; nothing is loaded."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import time
from pathlib import Path

from codriver.errors import CodriverError, InvalidArgumentError
from codriver.v1 import feedback_admin_service_pb2 as pb
from feedback_service.registry.clip_directory import write_clip_directory
from feedback_service.registry.inspect import KINDS
from feedback_service.registry.models_client import Models, add_store_options, open_models
from feedback_service.registry.show import describe, fail, status
from feedback_service.registry.store import ModelStore, check_name

_ORPHAN_AGE_S = 86_400.0


def parser() -> argparse.ArgumentParser:
    """Returns the verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog="codriver models add",
        description="Checks a model and takes it into the store. It stays where it is; nothing is loaded.",
        epilog="examples: codriver models add vlm ./InternVL3-1B-hf --name internvl3-1b; "
        "codriver models add clip ./weights.safetensors --open-clip ViT-B-16 --image-size 192 --name vit-b-16",
    )
    parser.add_argument("kind", choices=sorted(KINDS), help="what it is to answer")
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="a transformers checkpoint directory (vlm), or a CLIP's directory with its card (clip)",
    )
    parser.add_argument("--name", default="", help="name to give it (default: the directory's)")
    group = parser.add_argument_group("weights of an open_clip model")
    group.add_argument(
        "--open-clip", metavar="MODEL", help="PATH is a safetensors file of this open_clip model, as ViT-B-16"
    )
    group.add_argument(
        "--image-size",
        type=int,
        metavar="PX",
        help="height and width that it was trained at, in pixels (default: as the weights tell, or 224)",
    )
    add_store_options(parser)
    return parser


def main(argv: list[str]) -> int:
    """Runs the verb; 2 when the model is refused."""
    arguments = parser().parse_args(argv)
    try:
        with open_models(arguments) as models:
            model = _add(models, arguments)
    except CodriverError as error:
        return fail("models add", error)
    print(f"{model.name}: {describe(model)}")
    print(f"`codriver models use {model.name}` lets it answer.", file=sys.stderr)
    return 0


def _add(models: Models, arguments: argparse.Namespace) -> pb.CoachModel:
    if arguments.open_clip is None and arguments.image_size is not None:
        raise InvalidArgumentError("--image-size belongs to --open-clip; a CLIP's directory has its own")
    if arguments.open_clip is None:
        path = arguments.path.expanduser().absolute()
        return _request(models, arguments, path, arguments.name)
    if arguments.kind != "clip":
        raise InvalidArgumentError("--open-clip goes with clip")
    store, weights = ModelStore(arguments.store), arguments.path.expanduser().absolute()
    name = arguments.name or weights.stem.lower()
    check_name(name)
    if any(model.name == name for model in models.list()):
        store.check_free(name)
    _sweep(store)
    target = store.made_directory / f"{name}-{secrets.token_hex(4)}"
    with status(f"taking in {weights.name}"):
        write_clip_directory(target, weights, arguments.open_clip, arguments.image_size, name)
    try:
        return _request(models, arguments, target, name)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _request(models: Models, arguments: argparse.Namespace, path: Path, name: str) -> pb.CoachModel:
    with status(f"reading {path.name}"):
        return models.add(pb.AddModelRequest(kind=KINDS[arguments.kind], path=str(path), name=name))


def _sweep(store: ModelStore) -> None:
    """Removes directories that a killed `models add` left behind."""
    known = {model.path for model in store.list()}
    for path in store.made_directory.glob("*"):
        if path not in known and time.time() - path.stat().st_mtime > _ORPHAN_AGE_S:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
