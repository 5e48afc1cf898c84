"""Recorded driving: sharded files that collectors write and learners read. Needs numpy and protobuf alone.

A dataset is a directory::

    manifest.json              format, specs and their hash, provenance, and per shard: SHA-256, rows, episodes
    manifest-WORKER.json       the same of a collector that still runs; merge_manifests() folds it in
    shard-WORKER-00000.npz     columns of whole episodes (docs/policies.md lists them), deflated, no pickle

A **row** is one observation and what was done there: ``applied_action[t]`` is the action that was applied at
observation ``t``, ``reward[t]`` what the step out of it earned, ``expert_action[t]`` what the expert would have done
(NaN: it was not asked). The last row of an episode holds its final observation; no action follows it.

Write with :class:`ShardWriter`, read with :class:`Dataset`.
"""

from codriver.dataset.episode import EpisodeData
from codriver.dataset.errors import DatasetError
from codriver.dataset.manifest import EpisodeEntry, Manifest, ShardEntry, merge_manifests, read_manifest
from codriver.dataset.reader import Dataset, Shard
from codriver.dataset.writer import ShardWriter

__all__ = [
    "Dataset",
    "DatasetError",
    "EpisodeData",
    "EpisodeEntry",
    "Manifest",
    "Shard",
    "ShardEntry",
    "ShardWriter",
    "merge_manifests",
    "read_manifest",
]
