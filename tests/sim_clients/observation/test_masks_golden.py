"""Masks of hand-made scenes against pixels derived by hand (see helpers for the geometry)."""

import math

import numpy as np
import pytest

from codriver.driving import MASK_CHANNELS, MASK_LEVELS
from sim_clients.observation.masks import pool
from sim_clients.rules.stop_signs import StopSignState
from sim_clients.scene import LightColour
from tests.sim_clients.observation.helpers import (
    MARKINGS,
    ROAD,
    ROUTE,
    SIGN,
    STOPS,
    VEHICLES,
    WALKERS,
    Progress,
    Report,
    extent,
    wide_scene,
)
from tests.sim_clients.scenes import actors, line, route


def masks_of(observer, *scenes, report=None):
    for scene in scenes:
        observation = observer.observe(scene, report or Report())
    return observation.masks


def test_shape_and_channels_are_those_of_the_contract(observer):
    masks = masks_of(observer, wide_scene())
    assert masks.shape == (len(MASK_CHANNELS), 96, 96)
    assert masks.dtype == np.uint8


def test_ego_box_on_road(observer):
    # 4.9 m x 2.1 m: rows 151.5 -+ 12.25 -> 139..164, columns 95.5 -+ 5.25 -> 90..101 at 192. Halved: columns 45..50;
    # rows 69 and 82 are shared with road, and there the greater 255 stays.
    road = masks_of(observer, wide_scene())[ROAD]
    assert extent(road, 120) == (70, 81, 45, 50)
    assert (road[70:82, 45:51] == 120).all()
    assert (road == 120).sum() + (road == 255).sum() == road.size


def test_ego_box_on_an_empty_route(observer):
    layer = masks_of(observer, wide_scene())[ROUTE]
    assert extent(layer, 120) == (69, 82, 45, 50)
    assert (layer == 255).sum() == 0


def test_road_edges(observer):
    # The edge at y = 25 is 5 m to the left: u = 70.5; the other 45 m to the right, out of the view. The outline
    # adds 2.5 px and the 2 x 2 spread up to 1 px, so the edge is at 67 and after halving at 33.
    road = masks_of(observer, wide_scene(y=20.0))[ROAD]
    assert extent(road) == (0, 95, 33, 95)


def test_nothing_beyond_the_map(observer):
    masks = masks_of(observer, wide_scene(x=5000.0, y=5000.0))
    assert (masks[ROAD] == 255).sum() == 0
    assert (masks[MARKINGS] == 0).all()


def test_markings_have_two_levels(observer):
    # Broken at y = 5: u = 70.5 -> 70 and 71, which halve to 35; solid at y = -5: u = 120.5 -> 60.
    markings = masks_of(observer, wide_scene())[MARKINGS]
    assert (markings[:, 35] == 120).all()
    assert (markings[:, 60] == 255).all()
    # The rounding of the map's own pixels can move a line by one, but not more.
    elsewhere = np.delete(markings, [34, 35, 59, 60, 61, 36], axis=1)
    assert (elsewhere == 0).all()


def test_vehicle_at_a_known_offset(observer):
    # 10 m ahead, 3 m left, 4.6 m x 1.9 m: rows 101.5 -+ 11.5 -> 90..113, columns 80.5 -+ 4.75 -> 76..85.
    masks = masks_of(observer, wide_scene(vehicles=actors((10, 3, 0))))
    assert extent(masks[VEHICLES[-1]]) == (45, 56, 38, 42)
    assert (masks[VEHICLES[-1], 45:57, 38:43] == 255).all()
    # With one frame only, the oldest stands in for the rest.
    assert all((masks[channel] == masks[VEHICLES[-1]]).all() for channel in VEHICLES)
    assert not masks[list(WALKERS)].any()


def test_walkers_are_doubled_and_at_least_80_cm(observer):
    # Half extents 0.25 -> 0.8 m (4 px) and 0.6 -> 1.2 m (6 px); both 10 m ahead, 8 m left and right.
    small = masks_of(observer, wide_scene(walkers=actors((10.1, 8.1, 0), half=(0.25, 0.25))))[WALKERS[-1]]
    # v = 151.5 - 50.5 = 101, u = 95.5 - 40.5 = 55, so 97..105 and 51..59.
    assert extent(small) == (48, 52, 25, 29)
    observer.reset()
    large = masks_of(observer, wide_scene(walkers=actors((10.1, 8.1, 0), half=(0.6, 0.6))))[WALKERS[-1]]
    assert extent(large) == (47, 53, 24, 30)


def test_overlapping_boxes_are_a_union(observer):
    pair = actors((10.0, 3.0, 0.0), (11.0, 3.0, 0.0))
    layer = masks_of(observer, wide_scene(vehicles=pair))[VEHICLES[-1]]
    assert (layer[43:57, 38:43] == 255).all()


def test_actor_range_is_a_square_of_39_m(observer):
    # Boxes this far away reach into the view only if they are very long.
    long = actors((38.9, 0, 0), half=(12.0, 1.0))
    assert masks_of(observer, wide_scene(vehicles=long))[VEHICLES[-1]].any()
    observer.reset()
    assert not masks_of(observer, wide_scene(vehicles=actors((39.1, 0, 0), half=(12.0, 1.0))))[
        VEHICLES[-1]
    ].any()


def test_ego_among_the_vehicles_is_left_out(observer):
    assert not masks_of(observer, wide_scene(vehicles=actors((0.5, -0.5, 0))))[VEHICLES[-1]].any()
    observer.reset()
    assert masks_of(observer, wide_scene(vehicles=actors((0.5, -1.5, 0))))[VEHICLES[-1]].any()


def test_history_follows_a_moving_vehicle(observer):
    # The vehicle drives 0.4 m a step, so 15, 10, 5 and 0 steps ago it was 6, 4, 2 and 0 m behind: 30, 20, 10, 0 px.
    for step in range(25):
        masks = masks_of(observer, wide_scene(vehicles=actors((10 + 0.4 * (step - 24), 3, 0))))
    rows = [extent(masks[channel])[:2] for channel in VEHICLES]
    assert rows == [(60, 71), (55, 66), (50, 61), (45, 56)]


def test_history_of_a_parked_vehicle_stays_with_it_as_the_ego_moves(observer):
    # Drawn from the current pose, whatever the ego's poses were: all four steps coincide.
    for step in range(25):
        scene = wide_scene(x=step * 0.37, y=step * 0.05, yaw=step * 0.04, vehicles=actors((12, 4, 0.3)))
        masks = masks_of(observer, scene)
    assert masks[VEHICLES[-1]].any()
    assert all((masks[channel] == masks[VEHICLES[-1]]).all() for channel in VEHICLES)


def test_history_turns_with_the_ego(observer):
    # First seen 10 m ahead; after a quarter turn to the left it is 10 m to the right: u = 145.5, v = 151.5.
    ahead = actors((10, 0, 0), half=(2.0, 1.0))
    masks = masks_of(observer, wide_scene(vehicles=ahead), wide_scene(yaw=math.pi / 2))
    assert not masks[VEHICLES[-1]].any()
    first, last, left, right = extent(masks[VEHICLES[0]])
    # Half length 10 px now runs across: columns 135.5..155.5, rows 146.5..156.5, each within a pixel of rounding.
    assert (first, last) in {(73, 78), (73, 77)}
    assert left in {67, 68} and right in {77, 78}


def test_history_repeats_the_oldest_and_is_reset(observer):
    near = wide_scene(vehicles=actors((10, 3, 0)))
    masks = masks_of(observer, near, wide_scene(), wide_scene())
    assert [bool(masks[channel].any()) for channel in VEHICLES] == [True, True, True, False]
    observer.reset()
    assert not masks_of(observer, wide_scene())[list(VEHICLES)].any()


def test_history_steps_are_15_10_5_0(observer):
    seen = []
    for step in range(20):
        vehicles = {"vehicles": actors((10, 3, 0))} if step == 0 else {}
        masks = masks_of(observer, wide_scene(**vehicles))
        seen.append([bool(masks[channel].any()) for channel in VEHICLES])
    assert [row[3] for row in seen] == [True] + [False] * 19
    assert [row[2] for row in seen] == [True] * 6 + [False] * 14
    assert [row[1] for row in seen] == [True] * 11 + [False] * 9
    assert [row[0] for row in seen] == [True] * 16 + [False] * 4


def test_an_actor_out_of_range_then_is_not_in_the_history(observer):
    far = actors((45, 3, 0))
    masks = masks_of(observer, wide_scene(vehicles=far), wide_scene(x=30.0, vehicles=far))
    assert [bool(masks[channel].any()) for channel in VEHICLES] == [False, False, False, True]


@pytest.mark.parametrize(
    ("colour", "level"),
    [(LightColour.GREEN, 80), (LightColour.YELLOW, 170), (LightColour.RED, 255), (LightColour.NONE, 0)],
)
def test_stop_line_levels(observer, colour, level):
    # 10 m ahead: v = 101.5; half length 0.4 * 3.5 = 1.4 m = 7 px: u = 88.5..102.5 plus round ends of 3 px.
    masks = masks_of(observer, wide_scene(light_colours=np.array([colour, 0], np.uint8)))
    layer = masks[STOPS[-1]]
    assert set(np.unique(layer)) == {0, level}
    if level:
        first, last, left, right = extent(layer, level)
        assert 48 <= first <= 49 and 52 <= last <= 53
        assert 42 <= left <= 43 and 52 <= right <= 53
        assert (layer[50:52, 45:51] == level).all()


def test_light_history_keeps_old_colours(observer):
    for step in range(16):
        colour = LightColour.YELLOW if step < 6 else LightColour.RED
        masks = masks_of(observer, wide_scene(light_colours=np.array([colour, 0], np.uint8)))
    assert [int(masks[channel].max()) for channel in STOPS] == [170, 170, 255, 255]


def test_lights_reach_50_m(observer):
    # The second line is at x = 60: in reach from x = 10.1, where it lies out of the view, and drawn from history
    # later only for steps on which it was in reach.
    lights = np.array([0, LightColour.RED], np.uint8)
    masks = masks_of(
        observer, wide_scene(x=9.9, light_colours=lights), wide_scene(x=50.0, light_colours=lights)
    )
    assert [bool(masks[channel].any()) for channel in STOPS] == [False, False, False, True]
    observer.reset()
    masks = masks_of(
        observer, wide_scene(x=10.1, light_colours=lights), wide_scene(x=50.0, light_colours=lights)
    )
    assert [bool(masks[channel].any()) for channel in STOPS] == [True, True, True, True]


def test_stop_sign_is_a_square_until_it_is_obeyed(observer):
    # The box is 2.0 m x 3.4 m; as a square 3.4 m, 17 px: rows 101.5 -+ 8.5 -> 93..110, columns 87..104.
    target = Report(stop=StopSignState(SIGN, False, 10.0, False))
    layer = masks_of(observer, wide_scene(), report=target)[STOPS[-1]]
    assert extent(layer) == (46, 55, 43, 52)
    assert set(np.unique(layer)) == {0, 255}
    observer.reset()
    obeyed = Report(stop=StopSignState(SIGN, True, 10.0, False))
    assert not masks_of(observer, wide_scene(), report=obeyed)[list(STOPS)].any()


def test_stop_sign_covers_a_light(observer):
    target = Report(stop=StopSignState(SIGN, False, 10.0, False))
    green = wide_scene(light_colours=np.array([LightColour.GREEN, 0], np.uint8))
    layer = masks_of(observer, green, report=target)[STOPS[-1]]
    assert (layer[47:55, 44:52] == 255).all()


def test_route_is_80_points_3_metres_wide(observer):
    # Points 1 m apart from x = -50; from index 50 the line begins at the ego and is cut after 80 points.
    along = route(np.stack([np.arange(-50.0, 150.0), np.zeros(200)], axis=1))
    layer = masks_of(observer, wide_scene(route=along), report=Report(progress=Progress(50)))[ROUTE]
    columns = np.flatnonzero(layer[20] == 255)
    assert 43 <= columns[0] <= 44 and 51 <= columns[-1] <= 52
    assert (layer[0:69, 45:51] == 255).all()
    assert layer[84:].max() == 0
    observer.reset()
    ends = masks_of(observer, wide_scene(route=along), report=Report(progress=Progress(190)))[ROUTE]
    assert (ends == 255).sum() == 0  # 9 points are left, all 140 m ahead


def test_route_of_a_single_point_and_beyond_its_end(observer):
    short = route(line((0, 0), (1, 0)))
    for index in (1, 2):
        masks = masks_of(observer, wide_scene(route=short), report=Report(progress=Progress(index)))
        assert set(np.unique(masks[ROUTE])) <= {0, 120, 255}


def test_statics_are_carved_out_of_the_road_and_nothing_else(observer):
    masks = masks_of(observer, wide_scene(statics=actors((10, 3, 0))))
    # 90..113 x 76..85 at 192; after halving only pixels without any road left are 0.
    assert extent(masks[ROAD], 0) == (45, 56, 38, 42)
    assert not masks[3:].any()


def test_pool_takes_the_greatest_of_four_and_keeps_levels():
    rng = np.random.default_rng(0)
    layers = rng.choice(np.array([0, 80, 120, 170, 255], np.uint8), (5, 192, 192))
    expected = layers.reshape(5, 96, 2, 96, 2).max(axis=(2, 4))
    assert (pool(layers) == expected).all()


def test_arrays_are_the_receivers_to_keep(observer):
    first = observer.observe(wide_scene(vehicles=actors((10, 3, 0))), Report(), picture=True)
    kept = first.masks.copy(), first.state.copy(), first.picture.copy()
    observer.observe(wide_scene(x=3.0, yaw=1.0), Report(), picture=True)
    assert (
        (first.masks == kept[0]).all() and (first.state == kept[1]).all() and (first.picture == kept[2]).all()
    )
    assert first.masks.flags.owndata or first.masks.base.base is None
    first.masks[:] = 1  # writable


def test_levels_of_the_contract_cover_the_golden_scenes(observer):
    report = Report(stop=StopSignState(SIGN, False, 10.0, False))
    red = np.array([LightColour.RED, LightColour.GREEN], np.uint8)
    masks = masks_of(observer, wide_scene(light_colours=red, vehicles=actors((8, 4, 1))), report=report)
    for channel, levels in zip(masks, MASK_LEVELS, strict=True):
        assert set(np.unique(channel)) <= set(levels)
