"""A map drawn once at 5 px/m, and the view that is cut out of it each step.

One byte a pixel holds three bits: road, marking, broken marking. The released code warps each mask with bilinear
weights and then takes every pixel that is not zero: a view pixel is set where any of the 2 x 2 map pixels around its
place is set. The same comes cheaper by spreading each bit over that 2 x 2 square once per map and then taking the
nearest pixel, and it works on all three bits at once.

The raster ends right at the outermost drawing: the warp fills with "nothing" beyond it, so no margin is kept. A town
of 1 km by 1 km takes 25 MB of memory and a few hundred kB of cache.

Source: Found-RL's released map masks (outline 5 px, markings 1 px), drawn anew from the scene's polygons.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.raster_cache import load, store
from sim_clients.observation.view import PX_PER_M, SHIFT, SIZE_PX, Fixed, View
from sim_clients.scene import Floats, SceneMap

ROAD, MARKING, BROKEN = 1, 2, 4
"""Bits of a raster pixel; BROKEN comes only with MARKING."""
RASTER_VERSION = 1
OUTLINE_PX = 5
_MARGIN_PX = 4
_REACH_PX = 180
"""No pixel of the view is farther from the ego (178.7 px to the front corners)."""
_NUDGE = 1e-3
"""Makes "nearest" take the upper pixel when the place is exactly on one, instead of rounding to even."""


@dataclass(frozen=True)
class MapRaster:
    """A drawn map.

    Attributes:
        codes: (H, W) uint8 bits, already spread over 2 x 2 squares; rows go south, columns east.
        x_min_m: Left edge of the first column.
        y_max_m: Upper edge of the first row.
    """

    codes: NDArray[np.uint8]
    x_min_m: float
    y_max_m: float

    def warp(self, view: View, out: NDArray[np.uint8]) -> None:
        """Draws the view from a pose into ``out``, (192, 192) uint8 bits."""
        affine = view.map_affine(self.x_min_m, self.y_max_m)
        affine[:, 2] += _NUDGE - 0.5
        # A window around the ego: OpenCV takes at most 32,767 px a side, towns may be larger.
        height, width = self.codes.shape
        column = int((view.x - self.x_min_m) * PX_PER_M)
        row = int((self.y_max_m - view.y) * PX_PER_M)
        left, right = max(0, column - _REACH_PX), min(width, column + _REACH_PX)
        top, bottom = max(0, row - _REACH_PX), min(height, row + _REACH_PX)
        if left >= right or top >= bottom:
            out.fill(0)
            return
        affine[0, 2] -= left
        affine[1, 2] -= top
        cv2.warpAffine(
            self.codes[top:bottom, left:right],
            affine,
            (SIZE_PX, SIZE_PX),
            dst=out,
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )


def map_raster(scene_map: SceneMap, cache_dir: Path | None = None) -> MapRaster:
    """Returns the raster of a map, from the cache where it is there.

    Args:
        scene_map: The map.
        cache_dir: Where rasters are kept; by default the user's cache directory.
    """
    key = _key(scene_map)
    found = load(key, cache_dir)
    if found is not None:
        return MapRaster(*found)
    raster = draw(scene_map)
    store(key, raster.codes, raster.x_min_m, raster.y_max_m, cache_dir)
    return raster


def draw(scene_map: SceneMap) -> MapRaster:
    """Draws a map.

    Raises:
        ValueError: If the map has neither a road polygon nor a marking.
    """
    lines = [marking.points for marking in scene_map.markings]
    outlines = [*scene_map.road_polygons, *lines]
    if not outlines:
        raise ValueError(f"map {scene_map.name!r} has no road polygons: nothing to draw")
    low = np.min([points.min(axis=0) for points in outlines], axis=0)
    high = np.max([points.max(axis=0) for points in outlines], axis=0)
    # Whole pixels from the map's origin, so that a town's raster does not shift when the town grows.
    first = np.floor(low * PX_PER_M) - _MARGIN_PX
    size = (np.ceil(high * PX_PER_M) + _MARGIN_PX - first).astype(int)
    x_min, y_max = float(first[0]) / PX_PER_M, float(first[1] + size[1]) / PX_PER_M

    def fixed(points: Floats) -> Fixed:
        pixels = np.stack([points[:, 0] - x_min, y_max - points[:, 1]], axis=1) * PX_PER_M - 0.5
        return np.rint(pixels * (1 << SHIFT)).astype(np.int32)

    shape = (int(size[1]), int(size[0]))
    codes = _spread(_fill(shape, map(fixed, scene_map.road_polygons))) * np.uint8(ROAD)
    broken = [fixed(m.points) for m in scene_map.markings if m.broken]
    codes |= _spread(_stroke(shape, map(fixed, lines))) * np.uint8(MARKING)
    codes |= _spread(_stroke(shape, broken)) * np.uint8(BROKEN)
    return MapRaster(codes, x_min, y_max)


def _fill(shape: tuple[int, int], polygons: Iterable[Fixed]) -> NDArray[np.uint8]:
    # One polygon at a time: several in one call would cancel out where they overlap. The outline closes seams.
    image = np.zeros(shape, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(image, [polygon], (1,), cv2.LINE_8, SHIFT)
        cv2.polylines(image, [polygon], True, (1,), OUTLINE_PX, cv2.LINE_8, SHIFT)
    return image


def _stroke(shape: tuple[int, int], lines: Iterable[Fixed]) -> NDArray[np.uint8]:
    image = np.zeros(shape, np.uint8)
    for line in lines:
        cv2.polylines(image, [line], False, (1,), 1, cv2.LINE_8, SHIFT)
    return image


def _spread(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel becomes the greatest of itself and its neighbours to the right and below: bilinear, non-zero."""
    image[:, :-1] |= image[:, 1:]
    image[:-1] |= image[1:]
    return image


def _key(scene_map: SceneMap) -> str:
    # The geometry is hashed too: the same source file may be read better by a later version of an adapter.
    digest = hashlib.sha256(f"{RASTER_VERSION} {PX_PER_M} {OUTLINE_PX} {scene_map.sha256}".encode())
    for polygon in scene_map.road_polygons:
        digest.update(b"road" + np.ascontiguousarray(polygon, np.float64).tobytes())
    for marking in scene_map.markings:
        digest.update(b"line%d" % marking.broken + np.ascontiguousarray(marking.points, np.float64).tobytes())
    return digest.hexdigest()[:32]
