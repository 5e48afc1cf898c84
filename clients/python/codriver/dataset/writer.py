"""Writing datasets: whole episodes into shards, each shard in one step, resumable after any crash."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Type

import numpy as np

from codriver.dataset.episode import EpisodeData, to_columns
from codriver.dataset.errors import DatasetError
from codriver.dataset.manifest import (
    MANIFEST_NAME,
    EpisodeEntry,
    Manifest,
    PathLike,
    ShardEntry,
    read_manifest,
)
from codriver.spec import check_action_spec, check_observation_spec
from codriver.v1 import action_pb2, observation_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORKER = re.compile(r"[A-Za-z0-9_]{1,32}\Z")
DEFAULT_ROWS_PER_SHARD = 4096


class ShardWriter:
    """Writes episodes of one collector. Several collectors share a directory when each has a worker name of its own.

    An episode is safe when its shard is full or :meth:`flush` returned; a crash before that loses it, and it is
    collected again by a resumed run. The parent of several collectors calls ``merge_manifests`` when they are done.

    Args:
        directory: The dataset; made when missing.
        observation_spec: Tensors of a row. Optional PNG tensors are stored from ``EpisodeData.pictures`` (one at most).
        action_spec: The actions.
        provenance: Facts of this collector run, JSON values.
        worker: Name of this collector in the directory; letters, digits and _.
        resume: True: continue a dataset. False: refuse a directory that holds one.
        rows_per_shard: A shard is written when it has at least this many rows (about 25 KB of memory each).

    Raises:
        DatasetError: The directory holds data of another spec, or any data and `resume` is False.
    """

    def __init__(
        self,
        directory: PathLike,
        observation_spec: observation_pb2.ObservationSpec,
        action_spec: action_pb2.ActionSpec,
        provenance: Mapping[str, Any],
        worker: str = "0",
        resume: bool = True,
        rows_per_shard: int = DEFAULT_ROWS_PER_SHARD,
    ) -> None:
        check_observation_spec(observation_spec)
        check_action_spec(action_spec)
        if not _WORKER.match(worker):
            raise DatasetError(f"worker {worker!r} is not 1 to 32 letters, digits and _")
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._worker, self._rows_per_shard = worker, rows_per_shard
        self._part = self._directory / f"manifest-{worker}.json"
        self._manifest = Manifest(observation_spec, action_spec)
        self._origin = dict(provenance)
        self._known = self._open(resume)
        self._pending: List[EpisodeEntry] = []
        self._columns: List[Dict[str, NDArray[Any]]] = []
        self._pictures: List[Optional[bytes]] = []
        self._rows = 0
        self._picture_name = _picture_name(observation_spec)

    def has_episode(self, episode_id: str) -> bool:
        """True: the dataset, or a shard of this writer that is not written yet, holds the episode."""
        return episode_id in self._known

    def add_episode(self, episode: EpisodeData) -> None:
        """Stores an episode; the shard is written when it is full.

        Raises:
            DatasetError: The episode is not valid, or its id is stored already. Nothing is stored of it.
        """
        if self.has_episode(episode.id):
            raise DatasetError(f"episode {episode.id} is stored already")
        if episode.pictures is not None and not self._picture_name:
            raise DatasetError(
                f"episode {episode.id} has pictures, but the observation spec has no optional tensor"
            )
        columns = to_columns(episode, self._manifest.observation_spec, self._manifest.action_spec)
        rows = len(episode)
        self._columns.append(columns)
        self._pictures.extend(episode.pictures if episode.pictures is not None else [None] * rows)
        self._pending.append(EpisodeEntry(episode.id, rows, dict(episode.info)))
        self._known.add(episode.id)
        self._rows += rows
        if self._rows >= self._rows_per_shard:
            self.flush()

    def flush(self) -> None:
        """Writes what is pending as a shard, and then the manifest."""
        if not self._pending:
            return
        number = len(self._manifest.shards)
        while (path := self._directory / f"shard-{self._worker}-{number:05d}.npz").exists():
            number += 1  # of an earlier run, merged or not
        columns = join_columns(self._columns)
        if self._picture_name:
            columns.update(_picture_columns(self._picture_name, self._pictures))
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        write_columns(staging, columns)
        data = staging.read_bytes()
        os.replace(str(staging), str(path))
        entry = ShardEntry(
            path.name,
            hashlib.sha256(data).hexdigest(),
            len(data),
            tuple(self._pending),
            self._manifest.provenance_index(self._origin),
        )
        self._manifest.shards.append(entry)
        self._manifest.write(self._part)
        self._pending, self._columns, self._pictures, self._rows = [], [], [], 0

    def close(self) -> None:
        """Writes what is pending. The writer can be used again afterwards."""
        self.flush()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _open(self, resume: bool) -> set[str]:
        """Reads what the directory holds and returns the ids of its episodes."""
        if not (self._directory / MANIFEST_NAME).exists() and not list(
            self._directory.glob("manifest-*.json")
        ):
            return set()
        found = read_manifest(self._directory)
        if not resume:
            raise DatasetError(
                f"{self._directory} holds {found.rows} rows already",
                hint="Resume it or choose another directory",
            )
        if found.spec_hash != self._manifest.spec_hash:
            raise DatasetError(
                f"{self._directory} holds data of another observation or action spec",
                hint="Choose another directory",
            )
        if self._part.exists():
            mine = [s for s in found.shards if s.file.startswith(f"shard-{self._worker}-")]
            for shard in mine:
                index = self._manifest.provenance_index(found.provenance[shard.provenance])
                self._manifest.shards.append(
                    ShardEntry(shard.file, shard.sha256, shard.nbytes, shard.episodes, index)
                )
        return set(found.episode_ids())


def join_columns(parts: Sequence[Mapping[str, NDArray[Any]]]) -> Dict[str, NDArray[Any]]:
    """Puts episodes one after the other; rows of one that lacks an optional column are NaN there."""
    found = {name: array for part in parts for name, array in part.items()}
    return {
        name: np.concatenate(
            [
                part[name]
                if name in part
                else np.full((len(part["reward"]), *like.shape[1:]), np.nan, like.dtype)
                for part in parts
            ]
        )
        for name, like in found.items()
    }


def write_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays as an ``.npz``; masks shrink to some 200 bytes a row at 75 us, PNG files are stored as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in columns.items():
            stored = name.endswith(".data")
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _picture_name(spec: observation_pb2.ObservationSpec) -> str:
    names = [tensor.name for tensor in spec.tensors if tensor.optional]
    if len(names) > 1:
        raise DatasetError(
            f"the observation spec has {len(names)} optional tensors; datasets store one at most"
        )
    return names[0] if names else ""


def _picture_columns(name: str, pictures: List[Optional[bytes]]) -> Dict[str, NDArray[Any]]:
    """All files one after the other, and (rows + 1) offsets; a row without a picture has an empty range."""
    offsets = np.zeros(len(pictures) + 1, np.int64)
    np.cumsum([len(picture or b"") for picture in pictures], out=offsets[1:])
    data = np.frombuffer(b"".join(picture or b"" for picture in pictures), np.uint8)
    return {f"{name}.data": data, f"{name}.offsets": offsets}
