"""`codriver bench bev` as a user calls it."""

import json

import pytest

from sim_clients.observation import bench


def test_json_has_the_agreed_key_and_nothing_else(capsys):
    assert bench.main(["--frames", "5", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"ms_per_frame"}
    assert 0 < figures["ms_per_frame"] < 50


def test_table_names_the_parts(capsys):
    assert bench.main(["--frames", "5"]) == 0
    out = capsys.readouterr().out
    for part in ("masks and state only", "vehicles and walkers", "pool to masks", "picture"):
        assert part in out


def test_frames_must_be_positive(capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(["--frames", "0"])
    assert stopped.value.code == 2
    assert "--frames must be at least 1" in capsys.readouterr().err
