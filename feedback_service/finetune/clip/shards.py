"""Webdataset shards as open_clip's trainer takes them: ``KEY.png``, ``KEY.txt`` the caption, ``KEY.json`` the rest."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import webdataset

from codriver.coaching.vocabulary import ANCHORS, CONTEXTS, all_captions
from codriver.dataset import DatasetError
from feedback_service.finetune.clip.data import Pictures, is_held_out

PATTERN = "shard-%05d.tar"
ROWS_PER_SHARD = 5000


def is_webdataset(directory: Path) -> bool:
    """Whether a folder holds shards rather than a codriver dataset."""
    return not (directory / "manifest.json").exists() and any(directory.glob("*.tar"))


def export(pictures: Pictures, directory: Path) -> dict[str, Any]:
    """Writes labelled pictures as shards.

    Args:
        pictures: All of them, held-out ones too (their JSON says so).
        directory: Made when missing; must hold no shards yet.

    Returns:
        What was written: shards and pictures.

    Raises:
        DatasetError: There are shards already.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.glob("*.tar")):
        raise DatasetError(f"{directory} holds shards already", hint="Choose another folder")
    captions = all_captions()
    with webdataset.ShardWriter(str(directory / PATTERN), maxcount=ROWS_PER_SHARD, verbose=0) as writer:
        for row, png in enumerate(pictures.png):
            context, anchor = int(pictures.context[row]), int(pictures.anchor[row])
            form = {"context": context, "anchor": anchor, "held_out": bool(pictures.held_out[row])}
            writer.write(
                {
                    "__key__": f"{row:09d}",
                    "png": png,
                    "txt": captions[context * ANCHORS + anchor],
                    "json": form,
                }
            )
    return {
        "webdataset": str(directory),
        "shards": len(list(directory.glob("*.tar"))),
        "pictures": len(pictures),
    }


def load_shards(directories: Sequence[Path], held_out_share: float = 0.0) -> Pictures:
    """Reads shards, from here or elsewhere: the caption alone is enough for a label.

    Args:
        directories: Folders of ``.tar`` files.
        held_out_share: Share that is held out, by the name of the shard, where ``KEY.json`` does not say.

    Raises:
        DatasetError: A shard is damaged, or a caption is none of the 720.
    """
    number = {text: index for index, text in enumerate(all_captions())}
    png: list[bytes] = []
    captions: list[int] = []
    held: list[bool] = []
    paths = [path for directory in directories for path in sorted(directory.glob("*.tar"))]
    for path in paths:
        by_name = is_held_out(path.name, held_out_share)
        for sample in _samples(path):
            text = sample.get("txt", b"").decode("utf-8", "replace").strip()
            if text not in number or "png" not in sample:
                raise DatasetError(
                    f"{path}: {sample['__key__']} has no picture, or a caption that is none of the 720"
                )
            form = json.loads(sample.get("json", b"{}"))
            png.append(sample["png"])
            captions.append(number[text])
            held.append(bool(form.get("held_out", by_name)))
    if not png:
        raise DatasetError(f"{directories[0]} holds no pictures")
    context, anchor = np.divmod(np.array(captions, np.int64), ANCHORS)
    assert context.max() < CONTEXTS
    return Pictures(png, context, anchor, np.array(held, bool), len(paths))


def _samples(path: Path) -> Iterable[dict[str, Any]]:
    """Samples of a shard as bytes; webdataset's own decoding could run pickles, so that none is asked for."""
    try:
        with path.open("rb") as file:
            source = {"url": str(path), "stream": file}
            files = webdataset.tariterators.tar_file_expander([source], handler=webdataset.reraise_exception)
            yield from webdataset.tariterators.group_by_keys(files, handler=webdataset.reraise_exception)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DatasetError(f"{path} is not a webdataset shard: {error}") from error
