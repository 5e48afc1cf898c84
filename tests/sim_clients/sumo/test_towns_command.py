"""``codriver towns`` lists the towns with their figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim_clients.sumo.towns_command import main


def test_json_and_table_name_every_town(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    rows = {row["town"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["birch"]["signalised_junctions"] >= 4 and rows["birch"]["stop_signs"] >= 3
    assert rows["alder"]["lanes_km"] > 4.0
    assert all(Path(row["opendrive"]).is_file() for row in rows.values())
    assert main([]) == 0
    table = capsys.readouterr().out
    assert all(town in table for town in rows)
