"""Draws the picture of docs/towns.md: ``python -m sim_clients.sumo.towns.figure [PATH]``."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.scene import Floats, SceneMap
from sim_clients.sumo.scene_map import read_map

TOWNS = ("alder", "cedar", "elder", "birch")
_SIZE_PX, _MARGIN_PX, _TITLE_PX = 420, 14, 30
_PAVEMENT, _CROSSING, _ROAD, _SIGNAL, _STOP = (
    (205, 205, 205), (150, 150, 150), (70, 62, 58), (40, 40, 230), (200, 120, 30),
)  # fmt: skip
"""BGR."""


def draw(scene_map: SceneMap, title: str) -> NDArray[np.uint8]:
    """Draws a town, north up: road, pavements, crossings, stop lines of lights (red) and stop signs (blue).

    Returns:
        (450, 420, 3) uint8 BGR.
    """
    image = np.full((_SIZE_PX + _TITLE_PX, _SIZE_PX, 3), 255, np.uint8)
    points = np.vstack(scene_map.road_polygons + scene_map.pavements)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (_SIZE_PX - 2 * _MARGIN_PX) / float((high - low).max())
    middle = (low + high) / 2

    def pixels(shape: Floats) -> NDArray[np.int32]:
        flat = (shape - middle) * (scale, -scale) + (_SIZE_PX / 2, _SIZE_PX / 2 + _TITLE_PX)
        return np.asarray(np.round(flat * 16), np.int32)

    groups = (
        (scene_map.pavements, _PAVEMENT),
        (scene_map.road_polygons, _ROAD),
        (scene_map.crossings, _CROSSING),
    )
    for polygons, colour in groups:
        for polygon in polygons:
            cv2.fillPoly(image, [pixels(polygon)], colour, cv2.LINE_AA, 4)
    places = [(line.centre, _SIGNAL) for line in scene_map.stop_lines]
    places += [(sign.centre, _STOP) for sign in scene_map.stop_signs]
    for centre, colour in places:
        x, y = pixels(centre[None])[0].tolist()
        cv2.circle(image, (x, y), 3 * 16, colour, -1, cv2.LINE_AA, 4)
    cv2.putText(image, title, (_MARGIN_PX, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30, 30, 30), 1, cv2.LINE_AA)
    return image


def main(argv: list[str]) -> int:
    """Writes the picture."""
    path = Path(argv[0] if argv else "docs/images/towns.png")
    use = {"birch": "test"}
    images = [draw(read_map(town), f"{town} ({use.get(town, 'training')})") for town in TOWNS]
    rows = [np.hstack(images[:2]), np.hstack(images[2:])]
    cv2.imwrite(str(path), np.vstack(rows), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
