"""Properties that hold for any scene, and the pixel collision."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codriver.driving import MASK_LEVELS
from sim_clients.observation import Observer
from sim_clients.observation.picture import PALETTE
from sim_clients.rules.monitor import RuleMonitor
from sim_clients.rules.stop_signs import StopSignState
from tests.sim_clients.observation.helpers import MAP, SIGN, Progress, Report, wide_scene
from tests.sim_clients.scenes import MAP as SMALL_MAP
from tests.sim_clients.scenes import actors, ego, route
from tests.sim_clients.scenes import scene as small_scene

COLOURS = {tuple(colour) for colour in PALETTE.tolist()}
poses = st.tuples(st.floats(-50, 50), st.floats(-30, 30), st.floats(-10, 10))
sizes = st.tuples(st.floats(0.0, 9.0), st.floats(0.0, 2.0))


@st.composite
def steps(draw):
    x, y, yaw = draw(poses)
    way = np.stack([np.arange(100.0) - 50, np.full(100, draw(st.floats(-20, 20)))], axis=1)
    scene = wide_scene(
        x,
        y,
        yaw,
        route=route(way),
        vehicles=actors(*draw(st.lists(poses, max_size=4)), half=draw(sizes)),
        walkers=actors(*draw(st.lists(poses, max_size=4)), half=draw(sizes)),
        statics=actors(*draw(st.lists(poses, max_size=2)), half=draw(sizes)),
        light_colours=np.array(draw(st.tuples(st.integers(0, 3), st.integers(0, 3))), np.uint8),
    )
    stop = StopSignState(SIGN, draw(st.booleans()), 10.0, False)
    return scene, Report(stop=stop, progress=Progress(draw(st.integers(0, 99))))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@settings(max_examples=40, deadline=None)
@given(st.lists(steps(), min_size=1, max_size=5))
def test_only_levels_and_colours_of_the_palettes_and_the_same_each_time(cache, episode):
    first, second = Observer(MAP, cache), Observer(MAP, cache)
    for scene, report in episode:
        one, two = (observer.observe(scene, report, picture=True) for observer in (first, second))
        for channel, levels in zip(one.masks, MASK_LEVELS, strict=True):
            assert set(np.unique(channel).tolist()) <= set(levels)
        assert {tuple(colour) for colour in np.unique(one.picture.reshape(-1, 3), axis=0).tolist()} <= COLOURS
        assert np.isfinite(one.state).all()
        assert (one.masks == two.masks).all() and (one.picture == two.picture).all()
        assert (one.state == two.state).all() and one.pixel_collision == two.pixel_collision


@settings(max_examples=15, deadline=None)
@given(steps(), st.floats(-3, 3), st.floats(-500, 500), st.floats(-500, 500))
def test_actors_look_the_same_wherever_and_however_the_world_is_turned(cache, step, turn, east, north):
    scene, report = step
    observer = Observer(MAP, cache)

    def moved(pose):
        c, s = math.cos(turn), math.sin(turn)
        return pose @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + (east, north, turn)

    car = moved(np.array([scene.ego.x, scene.ego.y, scene.ego.yaw]))
    kinds = {}
    for kind in ("vehicles", "walkers"):
        group = getattr(scene, kind)
        # Range is measured along the map's axes and so is not free of turns: keep what is in range in both.
        near = np.hypot(*(group.pose[:, :2] - (scene.ego.x, scene.ego.y)).T)
        keep = (near < 38) & (near > 2)
        kinds[kind] = actors(
            *group.pose[keep].tolist(), half=tuple(group.half_extent[0]) if len(group) else (1, 1)
        )
    here = observer.observe(wide_scene(scene.ego.x, scene.ego.y, scene.ego.yaw, **kinds), report).masks[3:11]
    observer.reset()
    there_kinds = {
        kind: actors(*moved(group.pose).tolist(), half=tuple(group.half_extent[0]) if len(group) else (1, 1))
        for kind, group in kinds.items()
    }
    there = observer.observe(wide_scene(*car.tolist(), **there_kinds), report).masks[3:11]
    # A corner that lies between two pixels to the last bit may round either way.
    assert (here != there).mean() < 2e-3


@pytest.mark.parametrize(
    ("place", "hit"),
    [
        # The ego reaches 2.45 m ahead, a walker's square 0.8 m back; borders are drawn, so a pixel is lost each.
        ((3.0, 0.0), True),
        ((3.9, 0.0), False),
        ((0.0, 1.6), True),
        ((0.0, -1.6), True),
        ((0.0, 2.4), False),
        ((-3.0, 0.0), True),
        ((30.0, 5.0), False),
    ],
)
def test_pixel_collision_with_walkers(observer, place, hit):
    walker = actors((*place, 0.0), half=(0.25, 0.25))
    on_road, on_pavement = np.zeros(1, bool), np.ones(1, bool)
    scene = wide_scene(walkers=walker, walker_on_pavement=on_road)
    assert observer.observe(scene, Report()).pixel_collision is hit
    # Who walks along the kerb is not run over, however large he is drawn.
    scene = wide_scene(walkers=walker, walker_on_pavement=on_pavement)
    assert not observer.observe(scene, Report()).pixel_collision
    # It is the current walker that counts, not the history, and vehicles do not.
    assert not observer.observe(wide_scene(vehicles=walker), Report()).pixel_collision


def test_left_and_right_are_mirrored(observer):
    left = observer.observe(wide_scene(vehicles=actors((10, 4.03, 0.4))), Report()).masks
    observer.reset()
    right = observer.observe(wide_scene(vehicles=actors((10, -4.03, -0.4))), Report()).masks
    assert left[6].any()
    assert (left[6] == right[6][:, ::-1]).mean() > 0.999


def test_reports_of_the_rules_are_accepted(tmp_path):
    scene = small_scene(ego(x=85.0))
    monitor = RuleMonitor(SMALL_MAP)
    monitor.reset(scene)
    observation = Observer(SMALL_MAP, tmp_path).observe(scene, monitor.update(scene))
    assert observation.state[6] == 3  # the green light at x = 98
    assert (observation.masks[14] == 80).any()
    assert (observation.masks[1] == 255).any()
