"""Datasets: what is written is read back, runs resume, collectors share, and damage is one clear line."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codriver.codecs import bit_planes
from codriver.dataset import Dataset, DatasetError, EpisodeData, ShardWriter, merge_manifests, read_manifest
from codriver.driving import MASK_LEVELS, SPEC_HASH, action_spec, observation_spec

MakeWriter = Callable[..., ShardWriter]
PALETTES = [bytes(levels) for levels in MASK_LEVELS]


def make_episode(name: str, rows: int = 12, seed: int = 0, pictures: bool = False) -> EpisodeData:
    """An episode of random rows."""
    rng = np.random.default_rng([seed, rows])
    masks = np.stack([rng.choice(np.array(v, np.uint8), (rows, 96, 96)) for v in MASK_LEVELS], axis=1)
    kinds = np.full(rows, 2, np.uint8)
    kinds[0], kinds[-1] = 1, 3
    label = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
    label[-1] = np.nan
    files = [None if i % 3 else rng.bytes(20 + i) for i in range(rows)]
    return EpisodeData(
        id=name,
        tensors={"bev_masks": masks, "state": rng.normal(size=(rows, 10)).astype(np.float32)},
        expert_action=label,
        applied_action=rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        reward=rng.normal(size=rows).astype(np.float32),
        step_kind=kinds,
        command=rng.integers(1, 7, rows),
        forward_speed_mps=rng.uniform(0, 6, rows),
        target_m=rng.normal(size=(rows, 2)),
        pictures=files if pictures else None,
        info={"seed": seed, "end_reason": "collision"},
    )


@pytest.fixture
def writer(tmp_path: Path) -> MakeWriter:
    def make(**changes: Any) -> ShardWriter:
        arguments: dict[str, Any] = {
            "directory": tmp_path / "data",
            "observation_spec": observation_spec(picture=True),
            "action_spec": action_spec(),
            "provenance": {"town": "one"},
            **changes,
        }
        return ShardWriter(**arguments)

    return make


def test_round_trip(tmp_path: Path, writer: MakeWriter) -> None:
    first, second = make_episode("a", 12, 1, pictures=True), make_episode("b", 5, 2)
    with writer() as out:
        out.add_episode(first)
        out.add_episode(second)
    data = Dataset(tmp_path / "data")
    assert len(data) == 17
    assert data.manifest.episode_ids() == ["a", "b"]
    assert data.manifest.provenance == [{"town": "one"}]
    assert data.manifest.spec_hash == SPEC_HASH
    (shard,) = data.shards()
    assert shard.entry.episodes[0].info == {"seed": 1, "end_reason": "collision"}
    np.testing.assert_array_equal(shard.tensor("bev_masks", slice(0, 12)), first.tensors["bev_masks"])
    np.testing.assert_array_equal(shard.tensor("state")[12:], second.tensors["state"])
    for name in ("expert_action", "applied_action", "reward", "step_kind", "command", "target_m"):
        stored = shard.columns[name]
        both = np.concatenate([getattr(first, name), getattr(second, name)]).astype(stored.dtype)
        np.testing.assert_array_equal(stored, both)
    assert first.pictures is not None
    assert [shard.picture(i) for i in range(17)] == [*first.pictures, *[None] * 5]


def test_load_gives_rows_and_episodes(tmp_path: Path, writer: MakeWriter) -> None:
    parts = [make_episode(f"e{i}", 4 + i, i) for i in range(4)]
    with writer(rows_per_shard=8) as out:
        for part in parts:
            out.add_episode(part)
    assert len(list((tmp_path / "data").glob("*.npz"))) == 2
    table = Dataset(tmp_path / "data").load(["bev_masks", "reward"])
    assert table["episode"].tolist() == [i for i in range(4) for _ in range(4 + i)]
    np.testing.assert_array_equal(table["reward"], np.concatenate([p.reward for p in parts]))
    masks = bit_planes.unpack(table["bev_masks"][9:10], PALETTES, 96, 96)
    np.testing.assert_array_equal(masks[0], parts[2].tensors["bev_masks"][0])
    with pytest.raises(DatasetError, match="no column 'nothing'"):
        Dataset(tmp_path / "data").load(["nothing"])


def test_packed_rows_are_stored_as_they_are(tmp_path: Path, writer: MakeWriter) -> None:
    levels = make_episode("a", 3)
    packed = bit_planes.pack(levels.tensors["bev_masks"], PALETTES)
    with writer() as out:
        out.add_episode(dataclasses.replace(levels, tensors={**levels.tensors, "bev_masks": packed}))
    np.testing.assert_array_equal(Dataset(tmp_path / "data").load(["bev_masks"])["bev_masks"], packed)


def test_resume_skips_what_is_stored(tmp_path: Path, writer: MakeWriter) -> None:
    out = writer(rows_per_shard=10)
    out.add_episode(make_episode("kept", 12))
    out.add_episode(make_episode("lost", 3))
    del out  # a crash: "lost" is in no shard yet
    again = writer(rows_per_shard=10, provenance={"town": "one", "run": 2})
    assert again.has_episode("kept") and not again.has_episode("lost")
    with pytest.raises(DatasetError, match="stored already"):
        again.add_episode(make_episode("kept", 12))
    again.add_episode(make_episode("lost", 3))
    again.close()
    again.close()
    data = Dataset(tmp_path / "data")
    assert data.manifest.episode_ids() == ["kept", "lost"]
    assert [s.provenance for s in data.manifest.shards] == [0, 1]
    assert len(data.load(["reward"])["reward"]) == 15


def test_a_shard_without_its_manifest_is_not_overwritten(tmp_path: Path, writer: MakeWriter) -> None:
    (tmp_path / "data").mkdir()
    stray = tmp_path / "data" / "shard-0-00000.npz"
    stray.write_bytes(b"from a run that was killed before its manifest")
    with writer() as out:
        out.add_episode(make_episode("a"))
    assert stray.read_bytes().startswith(b"from")
    assert len(Dataset(tmp_path / "data").load(["reward"])["reward"]) == 12


def test_several_collectors_share_a_directory(tmp_path: Path, writer: MakeWriter) -> None:
    writers = [writer(worker=f"w{i}", provenance={"env": i}) for i in range(3)]
    for i, out in enumerate(writers):
        out.add_episode(make_episode(f"e{i}", 4, i))
        out.close()
    assert len(read_manifest(tmp_path / "data").episode_ids()) == 3
    merged = merge_manifests(tmp_path / "data")
    assert sorted(p.name for p in (tmp_path / "data").glob("*.json")) == ["manifest.json"]
    assert [s.provenance for s in merged.shards] == [0, 1, 2]
    again = writer(worker="w0")
    assert all(again.has_episode(f"e{i}") for i in range(3))
    again.add_episode(make_episode("e3", 5, 9))
    again.close()
    whole = merge_manifests(tmp_path / "data")
    assert whole.rows == 17 and len({s.file for s in whole.shards}) == 4
    rewards = Dataset(tmp_path / "data").load(["reward"])["reward"]
    np.testing.assert_array_equal(rewards[-5:], make_episode("e3", 5, 9).reward)


def test_existing_data_is_refused_without_resume_or_with_another_spec(
    tmp_path: Path, writer: MakeWriter
) -> None:
    with writer() as out:
        out.add_episode(make_episode("a"))
    with pytest.raises(DatasetError, match="holds 12 rows already"):
        writer(resume=False)
    other = observation_spec()
    other.tensors[1].shape[0] = 6
    del other.tensors[1].channel_names[6:]
    with pytest.raises(DatasetError, match="another observation or action spec"):
        writer(observation_spec=other)
    with pytest.raises(DatasetError, match="worker"):
        writer(worker="../up")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": np.zeros(11, np.float32)}, "expected"),
        ({"reward": np.full(12, np.nan)}, "reward holds NaN"),
        ({"applied_action": np.zeros((12, 3))}, "applied_action has shape"),
        ({"step_kind": np.full(12, 2)}, "step kinds"),
        ({"tensors": {}}, "'bev_masks' is missing"),
        ({"pictures": [b""]}, "1 pictures for 12 rows"),
        ({"id": ""}, "episode id"),
        ({"info": {"x": float("nan")}}, "info is not JSON"),
    ],
)
def test_bad_episodes_are_refused_and_nothing_is_stored(
    tmp_path: Path, writer: MakeWriter, change: dict[str, Any], message: str
) -> None:
    with writer() as out:
        with pytest.raises(DatasetError, match=message):
            out.add_episode(dataclasses.replace(make_episode("a"), **change))
        out.add_episode(make_episode("a"))
    assert read_manifest(tmp_path / "data").rows == 12


def _rewrite(path: Path, **changes: Any) -> None:
    form = json.loads(path.read_text())
    form.update(changes)
    path.write_text(json.dumps(form))


def test_damage_is_one_clear_line(tmp_path: Path, writer: MakeWriter) -> None:
    with writer() as out:
        out.add_episode(make_episode("a"))
    source = tmp_path / "data"
    merge_manifests(source)

    def damaged(name: str, change: Callable[[Path], object], message: str) -> None:
        copy = tmp_path / name
        shutil.copytree(source, copy)
        change(copy)
        with pytest.raises(DatasetError, match=message) as caught:
            Dataset(copy).load(["bev_masks"])
        assert "\n" not in str(caught.value) and str(copy) in str(caught.value)

    shard, manifest = "shard-0-00000.npz", "manifest.json"

    def flip(path: Path) -> None:
        raw = bytearray((path / shard).read_bytes())
        raw[len(raw) // 2] ^= 8
        (path / shard).write_bytes(raw)

    damaged("flipped", flip, "is corrupt")
    damaged("truncated", lambda p: (p / shard).write_bytes((p / shard).read_bytes()[:1000]), "is corrupt")
    damaged("gone", lambda p: (p / shard).unlink(), "cannot be read")
    damaged("no manifest", lambda p: (p / manifest).unlink(), "is not a dataset")
    damaged("not JSON", lambda p: (p / manifest).write_text("[1"), "cannot be read")
    damaged("foreign", lambda p: _rewrite(p / manifest, format="hdf5"), "has the format 'hdf5'")
    damaged("spec", lambda p: _rewrite(p / manifest, spec_hash="00"), "spec hash")
    damaged("shards", lambda p: _rewrite(p / manifest, shards=[{}]), "is damaged")
    entry = json.loads((source / manifest).read_text())["shards"][0]
    damaged("path", lambda p: _rewrite(p / manifest, shards=[{**entry, "file": "../x"}]), "is damaged")
    with pytest.raises(DatasetError, match="does not exist"):
        Dataset(tmp_path / "nowhere")


def test_a_column_that_not_every_episode_has(tmp_path: Path, writer: MakeWriter) -> None:
    """Labels of the expert that knows the speed only as its bin: stored where they are, NaN elsewhere."""
    label = np.full((5, 2), 0.25, np.float32)
    label[-1] = np.nan
    with writer(rows_per_shard=6) as out:
        out.add_episode(make_episode("without", 6))  # a shard that lacks the column
        out.add_episode(dataclasses.replace(make_episode("with", 5), expert_action_speed_bin=label))
        out.add_episode(make_episode("mixed", 4))  # in one shard with an episode that has it
    data = Dataset(tmp_path / "data")
    assert ["expert_action_speed_bin" in shard.columns for shard in data.shards()] == [False, True]
    found = data.load(["expert_action_speed_bin", "reward"])["expert_action_speed_bin"]
    assert found.shape == (15, 2) and found.dtype == np.float32
    expected = np.full((15, 2), np.nan, np.float32)
    expected[6:11] = label
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(DatasetError, match="expert_action_speed_bin has shape"):
        writer().add_episode(dataclasses.replace(make_episode("x", 6), expert_action_speed_bin=label))


def test_a_wrong_shard_with_a_right_hash_is_refused(tmp_path: Path, writer: MakeWriter) -> None:
    with writer() as out:
        out.add_episode(make_episode("a"))
    data = Dataset(tmp_path / "data", verify=False)
    path = tmp_path / "data" / "shard-0-00000.npz"
    np.savez(path, reward=np.zeros(3, np.float32))
    with pytest.raises(DatasetError, match="reward is float32"):
        data.load(["reward"])
    with pytest.raises(DatasetError, match="lacks the column"):
        data.load(["command"])
    np.savez(path, reward=np.array([{}] * 12, dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="is not a shard"):
        data.load(["reward"])
    path.write_bytes(b"PK\x05\x06junk")
    with pytest.raises(DatasetError, match="is not a shard"):
        data.load(["reward"])


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=6),
    rows_per_shard=st.integers(1, 20),
    pictures=st.booleans(),
    crash_after=st.integers(0, 6),
)
def test_any_split_into_shards_and_runs_gives_the_same_rows(
    lengths: list[int], rows_per_shard: int, pictures: bool, crash_after: int
) -> None:
    parts = [make_episode(f"e{i}", n, i, pictures) for i, n in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as place:

        def run(stop: int) -> ShardWriter:
            out = ShardWriter(
                place, observation_spec(picture=True), action_spec(), {}, rows_per_shard=rows_per_shard
            )
            for part in parts[:stop]:
                if not out.has_episode(part.id):
                    out.add_episode(part)
            return out

        run(crash_after)
        run(len(parts)).close()
        merge_manifests(place)
        data = Dataset(place)
        assert data.manifest.episode_ids() == [p.id for p in parts]
        rewards = np.concatenate([p.reward for p in parts])
        np.testing.assert_array_equal(data.load(["reward"])["reward"], rewards)
        found = [s.picture(i) for s in data.shards() for i in range(len(s))]
        assert found == [f for p in parts for f in (p.pictures or [None] * len(p))]
