"""The shipped towns hold what a town must hold, and their maps are sound."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from sim_clients.simulator import SimulatorError
from sim_clients.sumo.graph import FootGraph, RoadGraph
from sim_clients.sumo.net import DATA, read_net, towns
from sim_clients.sumo.scene_map import offset, read_map

TOWNS = ["alder", "birch"]


def test_towns_are_listed_and_an_unknown_one_is_named() -> None:
    assert {"alder", "birch"} <= set(towns())
    with pytest.raises(SimulatorError, match=r"unknown town 'nowhere'.*alder, birch"):
        read_map("nowhere")


@pytest.mark.parametrize("town", TOWNS)
def test_a_town_has_all_that_driving_needs(town: str) -> None:
    net, scene_map = read_net(town), read_map(town)
    graph = RoadGraph.of(net, scene_map)
    crossing_lights = {link.light for link in net.links if link.light and "_c" in link.end}
    assert len(crossing_lights) >= 4, "signalised crossings"
    assert b"<roundabout " in gzip.decompress(net.path.read_bytes())
    assert sum(len(lanes) > 1 for lanes in graph.lanes.values()) >= 4, "multi-lane stretches"
    assert len(scene_map.stop_signs) >= 3
    assert len(scene_map.pavements) > 20
    assert len(scene_map.crossings) > 10
    assert (DATA / f"{town}.xodr").read_text().count('type="sidewalk"') > 20
    extent = np.ptp(np.vstack(scene_map.road_polygons), axis=0)
    assert (extent > 400).all() and (extent < 650).all()


def test_the_test_town_is_another_town() -> None:
    lengths = [
        sorted(round(value) for value in RoadGraph.of(read_net(town), read_map(town)).length_m.values())
        for town in TOWNS
    ]
    assert lengths[0] != lengths[1]
    assert read_map("alder").sha256 != read_map("birch").sha256


@pytest.mark.parametrize("town", [*TOWNS, "acorn"])
def test_lanes_join_and_lead_on(town: str) -> None:
    lanes = read_map(town).lanes
    for lane in lanes.values():
        assert lane.successors, f"{lane.id} is a dead end"
        assert lane.width_m > 3.0
        for name in lane.successors:
            gap = np.linalg.norm(lanes[name].centre[0] - lane.centre[-1])
            assert gap < 0.3, f"{lane.id} to {name}: {gap:.2f} m"
        if lane.left is not None:
            assert lanes[lane.left].right == lane.id


@pytest.mark.parametrize("town", TOWNS)
def test_every_road_is_reached_from_every_other(town: str) -> None:
    graph = RoadGraph.of(read_net(town), read_map(town))
    seen, stack = set(), [next(iter(graph.lanes))]
    while stack:
        road = stack.pop()
        if road not in seen:
            seen.add(road)
            stack.extend(graph.passages[road])
    assert seen == set(graph.lanes)


@pytest.mark.parametrize("town", TOWNS)
def test_stop_lines_and_signs_lie_on_their_lanes(town: str) -> None:
    scene_map = read_map(town)
    for line in scene_map.stop_lines:
        np.testing.assert_allclose(line.centre, scene_map.lanes[line.lane_id].centre[-1])
    for sign in scene_map.stop_signs:
        centre = scene_map.lanes[sign.lane_id].centre
        along = (centre[-1] - sign.centre) @ [np.cos(sign.yaw_rad), np.sin(sign.yaw_rad)]
        assert 2.0 < along < 6.0
        assert sign.half_width_m < scene_map.lanes[sign.lane_id].width_m / 2


def test_markings_are_solid_at_edges_and_broken_between_lanes() -> None:
    scene_map = read_map("alder")
    avenue = [lane for lane in scene_map.lanes.values() if lane.right is not None]
    broken = [marking for marking in scene_map.markings if marking.broken]
    assert len(broken) == len(avenue) > 0
    for lane, marking in zip(avenue, broken, strict=True):
        gaps = np.linalg.norm(marking.points - lane.centre, axis=1)
        np.testing.assert_allclose(gaps, lane.width_m / 2, atol=0.05)


@pytest.mark.parametrize("town", TOWNS)
def test_pedestrians_can_wander_from_every_pavement(town: str) -> None:
    import random

    graph = FootGraph.of(read_net(town))
    for road in graph.pavements:
        walk = graph.wander(road, 10, 0.5, random.Random(1))
        assert len(walk) == 10


def test_offset_keeps_its_distance_on_a_bend() -> None:
    angle = np.linspace(0, np.pi / 2, 60)
    arc = 20.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(np.linalg.norm(offset(arc, 2.0), axis=1), 18.0, atol=0.01)


def test_the_script_makes_the_shipped_files(tmp_path: Path) -> None:
    pytest.importorskip("scenariogeneration")
    pytest.importorskip("shapely")
    from sim_clients.sumo.towns.build import build, main
    from sim_clients.sumo.towns.layouts import LAYOUTS
    from sim_clients.sumo.towns.opendrive import write

    for name in LAYOUTS:
        write(LAYOUTS[name](), tmp_path / f"{name}.xodr")
        assert (tmp_path / f"{name}.xodr").read_bytes() == (DATA / f"{name}.xodr").read_bytes()
    with pytest.raises(SystemExit):
        main(["nowhere"])
    try:
        build("acorn", tmp_path)
    except FileNotFoundError as error:  # netconvert is needed to build towns only
        assert shutil.which("netconvert") is None
        pytest.skip(str(error))
    built = gzip.decompress((tmp_path / "acorn.net.xml.gz").read_bytes())
    shipped = gzip.decompress((DATA / "acorn.net.xml.gz").read_bytes())
    assert built.count(b"<lane ") == shipped.count(b"<lane ")
    assert built.count(b"<phase ") == shipped.count(b"<phase ") > 0
