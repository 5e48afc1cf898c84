"""Reading datasets: shard by shard, or all rows of some columns at once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np

from codriver.codecs import bit_planes
from codriver.dataset.episode import column_shapes, optional_column_shapes, tensor_shape
from codriver.dataset.errors import DatasetError
from codriver.dataset.manifest import Manifest, PathLike, ShardEntry, read_manifest
from codriver.v1 import tensor_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Shard:
    """One shard in memory.

    Attributes:
        entry: Its entry in the manifest: episodes and rows.
        columns: One array a column; masks are packed rows.
    """

    def __init__(self, entry: ShardEntry, columns: Dict[str, NDArray[Any]], manifest: Manifest) -> None:
        self.entry = entry
        self.columns = columns
        self._manifest = manifest

    def __len__(self) -> int:
        return self.entry.rows

    def tensor(self, name: str, rows: Any = slice(None)) -> NDArray[Any]:
        """Decoded rows of a tensor that is not optional: masks (N, C, H, W) uint8 levels, state (N, S) float32."""
        return decode(self._manifest, name, self.columns[name][rows])

    def picture(self, row: int, name: str = "picture") -> Optional[bytes]:
        """The PNG file of a row, or None."""
        if f"{name}.offsets" not in self.columns:
            return None
        start, stop = self.columns[f"{name}.offsets"][row : row + 2]
        return self.columns[f"{name}.data"][start:stop].tobytes() or None


class Dataset:
    """A recorded dataset.

    Args:
        directory: Its directory.
        verify: True: compare each shard with its hash when it is read.

    Attributes:
        manifest: What it holds.

    Raises:
        DatasetError: It is missing or not valid.
    """

    def __init__(self, directory: PathLike, verify: bool = True) -> None:
        self.directory = Path(directory)
        self.manifest = read_manifest(self.directory)
        self._verify = verify

    def __len__(self) -> int:
        return self.manifest.rows

    def shards(self, columns: Optional[Sequence[str]] = None) -> Iterator[Shard]:
        """Reads shard after shard.

        Args:
            columns: Columns to decompress. None: all.

        Raises:
            DatasetError: A shard is missing, corrupt, or not what the manifest says.
        """
        for entry in self.manifest.shards:
            yield self.shard(entry, columns)

    def shard(self, entry: ShardEntry, columns: Optional[Sequence[str]] = None) -> Shard:
        """Reads one shard; as :meth:`shards`."""
        path = self.directory / entry.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DatasetError(f"shard {path} cannot be read: {error.strerror}") from error
        if self._verify and hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DatasetError(
                f"shard {path} is corrupt: its SHA-256 is not the manifest's", hint="Collect or copy it again"
            )
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                names = archive.files if columns is None else [n for n in columns if n in archive.files]
                loaded = {name: archive[name] for name in names}
        except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DatasetError(f"shard {path} is not a shard: {error}") from error
        self._check(path, entry, loaded, columns)
        return Shard(entry, loaded, self.manifest)

    def load(self, columns: Sequence[str]) -> Dict[str, NDArray[Any]]:
        """All rows of some columns, for random access.

        Masks stay packed, 25,344 bytes a row: 100,000 rows take 2.5 GB.

        Args:
            columns: Names of per-row columns; an optional one (``expert_action_speed_bin``) is NaN in shards that
                lack it.

        Returns:
            One array (rows, ...) a column, and ``episode`` (rows,) int64: index into ``manifest.episode_ids()``.

        Raises:
            DatasetError: As :meth:`shards`.
        """
        optional = self._optional_shapes()
        shapes = {**self._shapes(), **optional}
        unknown = [name for name in columns if name not in shapes]
        if unknown:
            raise DatasetError(
                f"dataset {self.directory} has no column {unknown[0]!r}; it has {', '.join(shapes)}"
            )
        table = {name: np.empty((len(self), *shapes[name][1]), shapes[name][0]) for name in columns}
        start = 0
        for shard in self.shards(columns):
            for name in columns:
                missing = name in optional and name not in shard.columns
                table[name][start : start + len(shard)] = np.nan if missing else shard.columns[name]
            start += len(shard)
        lengths = [episode.rows for shard in self.manifest.shards for episode in shard.episodes]
        table["episode"] = np.repeat(np.arange(len(lengths)), lengths)
        return table

    def _shapes(self) -> Dict[str, Tuple[np.dtype[Any], Tuple[int, ...]]]:
        shapes = column_shapes(len(self.manifest.action_spec.names))
        for tensor in self.manifest.observation_spec.tensors:
            if not tensor.optional:
                shapes[tensor.name] = tensor_shape(tensor)
        return shapes

    def _optional_shapes(self) -> Dict[str, Tuple[np.dtype[Any], Tuple[int, ...]]]:
        return optional_column_shapes(len(self.manifest.action_spec.names))

    def _check(
        self, path: Path, entry: ShardEntry, loaded: Dict[str, NDArray[Any]], columns: Optional[Sequence[str]]
    ) -> None:
        optional = self._optional_shapes()
        for name, (dtype, shape) in {**self._shapes(), **optional}.items():
            if columns is not None and name not in columns:
                continue
            if name in optional and name not in loaded:
                continue
            if name not in loaded:
                raise DatasetError(f"shard {path} lacks the column {name!r}")
            array = loaded[name]
            if array.dtype != dtype or array.shape != (entry.rows, *shape):
                raise DatasetError(
                    f"shard {path}: {name} is {array.dtype} {array.shape}, expected {dtype} {(entry.rows, *shape)}"
                )


def decode(manifest: Manifest, name: str, rows: NDArray[Any]) -> NDArray[Any]:
    """Decodes stored rows of a tensor: packed masks to levels (N, C, H, W); anything else is as it is stored."""
    for tensor in manifest.observation_spec.tensors:
        if tensor.name == name and tensor.encoding == tensor_pb2.ENCODING_BIT_PLANES:
            _, height, width = tensor.shape
            return bit_planes.unpack(rows, [p.levels for p in tensor.palettes], height, width, name)
    return rows
