"""The 192 x 192 picture for vision-language models, of 30 colours.

Colours are numbered in paint order, so that painting over is taking the greater number.

Source: Found-RL's released code. Its paper calls the trajectory dark gray and the drivable area light gray; the
code, which the models were trained with, has it the other way round, and so has this.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.layers import LIGHTS, ROUTE_LAYER, STOP_SIGNS, VEHICLES, WALKERS, Layers
from sim_clients.observation.map_raster import BROKEN, MARKING, ROAD
from sim_clients.observation.stops import GREEN_LEVEL, RED_LEVEL, YELLOW_LEVEL

TINTS = (0.6, 0.4, 0.2, 0.0)
"""How far a colour is drawn towards white, by history step: oldest to now."""
_PLAIN = (
    ("background", (0, 0, 0)),
    ("road", (46, 52, 54)),
    ("route", (136, 138, 133)),
    ("marking", (255, 0, 255)),
    ("broken_marking", (255, 140, 255)),
)
_TINTED = (
    ("stop_sign", (160, 160, 0)),
    ("green_light", (0, 255, 0)),
    ("yellow_light", (255, 255, 0)),
    ("red_light", (255, 0, 0)),
    ("vehicle", (0, 0, 255)),
    ("walker", (0, 255, 255)),
)
_AGES = ("1.5s", "1.0s", "0.5s", "0.0s")

PALETTE_NAMES: tuple[str, ...] = (
    *(name for name, _ in _PLAIN),
    *(f"{name}_{age}" for name, _ in _TINTED for age in _AGES),
    "ego",
)
"""What each of the 30 palette entries shows, in paint order."""
PALETTE: NDArray[np.uint8] = np.array(
    [
        *(colour for _, colour in _PLAIN),
        *([round(c + (255 - c) * tint) for c in colour] for _, colour in _TINTED for tint in TINTS),
        (255, 255, 255),
    ],
    np.uint8,
)
"""(30, 3) RGB."""
_INDEX = {name: number for number, name in enumerate(PALETTE_NAMES)}
_ROUTE, _EGO = _INDEX["route"], _INDEX["ego"]


def _table(entries: dict[int, int]) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for key, value in entries.items():
        table[key] = value
    return table


_OF_CODE = _table(
    {
        code: _INDEX["broken_marking" if code & BROKEN else "marking" if code & MARKING else "road"]
        for code in range(1, (ROAD | MARKING | BROKEN) + 1)
    }
)
_OF_LIGHT = [
    _table(
        {
            GREEN_LEVEL: _INDEX[f"green_light_{age}"],
            YELLOW_LEVEL: _INDEX[f"yellow_light_{age}"],
            RED_LEVEL: _INDEX[f"red_light_{age}"],
        }
    )
    for age in _AGES
]
_ACTORS = np.arange(_INDEX["vehicle_1.5s"], _INDEX["walker_0.0s"] + 1, dtype=np.uint8)[:, None, None]
_COLOUR_MAP = np.zeros((256, 1, 3), np.uint8)
_COLOUR_MAP[: len(PALETTE), 0] = PALETTE


def picture_indices(layers: Layers) -> NDArray[np.uint8]:
    """The picture of the step that was drawn last as a new (192, 192) uint8 array of palette entries."""
    indices = np.asarray(cv2.LUT(layers.codes, _OF_CODE), np.uint8)
    images = layers.images
    np.maximum(indices, images[ROUTE_LAYER] & _ROUTE, out=indices)
    for step, age in enumerate(_AGES):
        if layers.sign_drawn[step]:
            sign = images[STOP_SIGNS.start + step] & _INDEX[f"stop_sign_{age}"]
            np.maximum(indices, sign, out=indices)
        if layers.light_drawn[step]:
            np.maximum(indices, cv2.LUT(images[LIGHTS.start + step], _OF_LIGHT[step]), out=indices)
    actors = images[VEHICLES.start : WALKERS.stop] & _ACTORS
    np.maximum(indices, np.maximum.reduce(actors, axis=0), out=indices)
    layers.paint_ego(indices, _EGO)
    return indices


def to_rgb(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours palette entries: (H, W) uint8 to a new (H, W, 3) uint8 RGB array."""
    return np.asarray(cv2.applyColorMap(indices, _COLOUR_MAP), np.uint8)


def picture(layers: Layers) -> NDArray[np.uint8]:
    """The picture of the step that was drawn last: a new (192, 192, 3) uint8 RGB array, safe to keep."""
    return to_rgb(picture_indices(layers))
