"""Manifests: what a dataset holds, with the hash of every shard."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple, Union

from google.protobuf import json_format

from codriver.dataset.errors import DatasetError
from codriver.spec import spec_hash
from codriver.v1 import action_pb2, observation_pb2

FORMAT = "codriver-dataset/1"
"""Value of ``format``; the number changes when older readers cannot read the shards."""
MANIFEST_NAME = "manifest.json"
PART_PATTERN = "manifest-*.json"
PathLike = Union[str, Path]


@dataclass(frozen=True)
class EpisodeEntry:
    """An episode of a shard. Attributes: id; rows; info: facts of the episode, JSON values."""

    id: str
    rows: int
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardEntry:
    """A shard file.

    Attributes:
        file: Its name in the dataset's directory.
        sha256: Hash of the file.
        nbytes: Size of the file.
        episodes: Its episodes, in the order of its rows.
        provenance: Index into the manifest's provenance.
    """

    file: str
    sha256: str
    nbytes: int
    episodes: Tuple[EpisodeEntry, ...]
    provenance: int = 0

    @property
    def rows(self) -> int:
        """Rows of the shard."""
        return sum(episode.rows for episode in self.episodes)


@dataclass
class Manifest:
    """What a dataset holds.

    Attributes:
        observation_spec: Tensors of a row; optional ones are stored where a row has them.
        action_spec: The actions.
        provenance: Who collected: collector and version, town, seeds, who drove. One entry a collector run.
        shards: The shards.
    """

    observation_spec: observation_pb2.ObservationSpec
    action_spec: action_pb2.ActionSpec
    provenance: List[Dict[str, Any]] = field(default_factory=list)
    shards: List[ShardEntry] = field(default_factory=list)

    @property
    def spec_hash(self) -> str:
        """Hash of the specs, 64 hex digits."""
        return spec_hash(self.observation_spec, self.action_spec)

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    def episode_ids(self) -> List[str]:
        """Ids of all episodes, in order."""
        return [episode.id for shard in self.shards for episode in shard.episodes]

    def add(self, other: Manifest) -> None:
        """Takes over the shards of another manifest of the same specs; shards that are known are skipped."""
        known = {shard.file for shard in self.shards}
        for shard in other.shards:
            if shard.file not in known:
                origin = other.provenance[shard.provenance]
                self.shards.append(_moved(shard, self.provenance_index(origin)))

    def provenance_index(self, origin: Mapping[str, Any]) -> int:
        """Index of a provenance entry, which is added when it is new."""
        entry = dict(origin)
        if entry not in self.provenance:
            self.provenance.append(entry)
        return self.provenance.index(entry)

    def write(self, path: PathLike) -> None:
        """Writes the manifest in one step: readers see the old one or the new one."""
        path = Path(path)
        form = {
            "format": FORMAT,
            "spec_hash": self.spec_hash,
            "observation_spec": json_format.MessageToDict(
                self.observation_spec, preserving_proto_field_name=True
            ),
            "action_spec": json_format.MessageToDict(self.action_spec, preserving_proto_field_name=True),
            "rows": self.rows,
            "provenance": self.provenance,
            "shards": [_shard_form(shard) for shard in self.shards],
        }
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        staging.write_text(json.dumps(form, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(str(staging), str(path))


def read_manifest(directory: PathLike) -> Manifest:
    """Reads the manifest of a dataset, parts of collectors that still run included.

    Raises:
        DatasetError: There is none, it is not valid, or parts disagree on the specs.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DatasetError(f"dataset {directory} does not exist", hint="Record one with: codriver collect")
    whole = None
    for path in _manifest_paths(directory):
        part = _read(path)
        if whole is None:
            whole = part
        elif part.spec_hash != whole.spec_hash:
            raise DatasetError(f"{path} has another spec than the rest of the dataset")
        else:
            whole.add(part)
    if whole is None:
        raise DatasetError(f"{directory} is not a dataset: it has no {MANIFEST_NAME}")
    return whole


def merge_manifests(directory: PathLike) -> Manifest:
    """Folds the manifests of finished collectors into ``manifest.json`` and removes them.

    Call it when no collector writes to the directory. An interruption loses nothing.

    Raises:
        DatasetError: As :func:`read_manifest`.
    """
    directory = Path(directory)
    whole = read_manifest(directory)
    whole.write(directory / MANIFEST_NAME)
    for path in directory.glob(PART_PATTERN):
        path.unlink()
    return whole


def _manifest_paths(directory: Path) -> List[Path]:
    return [p for p in (directory / MANIFEST_NAME,) if p.exists()] + sorted(directory.glob(PART_PATTERN))


def _moved(shard: ShardEntry, provenance: int) -> ShardEntry:
    return ShardEntry(shard.file, shard.sha256, shard.nbytes, shard.episodes, provenance)


def _shard_form(shard: ShardEntry) -> Dict[str, Any]:
    return {
        "file": shard.file,
        "sha256": shard.sha256,
        "nbytes": shard.nbytes,
        "rows": shard.rows,
        "provenance": shard.provenance,
        "episodes": [{"id": e.id, "rows": e.rows, "info": dict(e.info)} for e in shard.episodes],
    }


def _read(path: Path) -> Manifest:
    try:
        form = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    found = form.get("format") if isinstance(form, dict) else None
    if found != FORMAT:
        raise DatasetError(f"{path} has the format {found!r}; this release reads {FORMAT!r}")
    try:
        manifest = Manifest(
            json_format.ParseDict(form["observation_spec"], observation_pb2.ObservationSpec()),
            json_format.ParseDict(form["action_spec"], action_pb2.ActionSpec()),
            [dict(entry) for entry in form["provenance"]],
            [_shard(shard, len(form["provenance"])) for shard in form["shards"]],
        )
    except (KeyError, TypeError, ValueError, json_format.ParseError) as error:
        raise DatasetError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if form.get("spec_hash") != manifest.spec_hash:
        raise DatasetError(f"{path} is damaged: its spec hash does not belong to its specs")
    return manifest


def _shard(form: Mapping[str, Any], origins: int) -> ShardEntry:
    episodes = tuple(EpisodeEntry(str(e["id"]), int(e["rows"]), dict(e["info"])) for e in form["episodes"])
    file, provenance = str(form["file"]), int(form["provenance"])
    if "/" in file or "\\" in file or file.startswith("."):
        raise ValueError(f"{file!r} is not the name of a shard")
    if not 0 <= provenance < origins or any(e.rows < 1 for e in episodes):
        raise ValueError(f"entry of {file} is out of range")
    return ShardEntry(file, str(form["sha256"]), int(form["nbytes"]), episodes, provenance)
