"""Colours of the picture, and their order."""

import numpy as np
import pytest

from sim_clients.observation.picture import PALETTE, PALETTE_NAMES, to_rgb
from sim_clients.rules.stop_signs import StopSignState
from sim_clients.scene import LightColour
from tests.sim_clients.observation.helpers import SIGN, Report, wide_scene
from tests.sim_clients.scenes import actors, line, route


def picture_of(observer, *scenes, report=None):
    for scene in scenes:
        observation = observer.observe(scene, report or Report(), picture=True)
    return observation.picture


def at(picture, x, y):
    """Colour of a map point with the ego at the origin, heading east."""
    return tuple(int(c) for c in picture[round(151.5 - 5 * x), round(95.5 - 5 * y)])


def test_palette_has_30_distinct_colours():
    assert PALETTE.shape == (30, 3) and len(PALETTE_NAMES) == 30
    assert len({tuple(colour) for colour in PALETTE.tolist()}) == 30
    assert (to_rgb(np.arange(30, dtype=np.uint8)[None]) == PALETTE[None]).all()


def test_tints_go_from_pale_to_plain():
    names = dict(zip(PALETTE_NAMES, map(tuple, PALETTE.tolist()), strict=True))
    # c + (255 - c) f with f = 0.6, 0.4, 0.2, 0.
    assert [names[f"vehicle_{age}"] for age in ("1.5s", "1.0s", "0.5s", "0.0s")] == [
        (153, 153, 255),
        (102, 102, 255),
        (51, 51, 255),
        (0, 0, 255),
    ]
    assert names["stop_sign_1.5s"] == (217, 217, 153)


def test_map_colours(observer):
    picture = picture_of(observer, wide_scene(y=20.0))
    assert picture.shape == (192, 192, 3) and picture.dtype == np.uint8
    assert tuple(picture[5, 5]) == (0, 0, 0)  # 18 m to the left, beyond the edge at y = 25
    assert tuple(picture[5, 150]) == (46, 52, 54)
    lines = picture_of(observer, wide_scene())
    assert at(lines, 20.1, 5.0) == (255, 140, 255)
    assert at(lines, 20.1, -5.0) == (255, 0, 255)
    assert at(lines, 0.0, 0.0) == (255, 255, 255)


def test_route_is_over_road_and_under_markings(observer):
    across = route(np.stack([np.full(41, 10.0), np.arange(-20.0, 21.0)], axis=1))
    picture = picture_of(observer, wide_scene(route=across))
    assert at(picture, 10.0, 0.0) == (136, 138, 133)
    assert at(picture, 10.0, 5.0) == (255, 140, 255)


@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        (LightColour.GREEN, (0, 255, 0)),
        (LightColour.YELLOW, (255, 255, 0)),
        (LightColour.RED, (255, 0, 0)),
        (LightColour.NONE, (46, 52, 54)),
    ],
)
def test_light_colours(observer, colour, rgb):
    picture = picture_of(observer, wide_scene(light_colours=np.array([colour, 0], np.uint8)))
    assert at(picture, 10.0, 0.0) == rgb


def test_stop_sign_is_under_lights_and_over_road(observer):
    target = Report(stop=StopSignState(SIGN, False, 10.0, False))
    green = wide_scene(light_colours=np.array([LightColour.GREEN, 0], np.uint8))
    picture = picture_of(observer, green, report=target)
    assert at(picture, 10.0, 0.0) == (0, 255, 0)
    assert at(picture, 11.2, 0.0) == (160, 160, 0)


def test_walkers_over_vehicles_over_lights_and_ego_last(observer):
    scene = wide_scene(
        light_colours=np.array([LightColour.RED, 0], np.uint8),
        vehicles=actors((10.0, 0.0, 0.0), (0.0, 1.8, 0.0)),
        walkers=actors((11.0, 0.0, 0.0), half=(0.3, 0.3)),
    )
    picture = picture_of(observer, scene)
    assert at(picture, 11.0, 0.0) == (0, 255, 255)
    assert at(picture, 9.0, 0.0) == (0, 0, 255)
    assert at(picture, 0.0, 2.0) == (0, 0, 255)
    assert at(picture, 0.0, 0.9) == (255, 255, 255)


def test_history_is_tinted_and_now_is_on_top(observer):
    # 0.4 m a step: after 15 steps the tail is pale and the front is plain.
    for step in range(16):
        picture = picture_of(observer, wide_scene(vehicles=actors((10 + 0.4 * (step - 15), 3, 0))))
    assert at(picture, 10.0, 3.0) == (0, 0, 255)
    assert at(picture, 7.0, 3.0) == (51, 51, 255)  # 2 m ago
    assert at(picture, 5.0, 3.0) == (102, 102, 255)
    assert at(picture, 2.0, 3.0) == (153, 153, 255)


def test_picture_only_on_request(observer):
    observation = observer.observe(wide_scene(route=route(line((0, 0), (9, 0)))), Report())
    assert observation.picture is None
