"""The 192 x 192 layers from which both the masks and the picture are made, each step anew.

Source: Found-RL, section on observations, and the drawing rules of its released configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.observation.boxes import corners, fill, visible
from sim_clients.observation.history import HISTORY_STEPS, Frame
from sim_clients.observation.map_raster import BROKEN, MARKING, ROAD, MapRaster
from sim_clients.observation.stops import LEVELS, STOP_LINE_PX
from sim_clients.observation.view import EGO_U, EGO_V, PX_PER_M, SHIFT, SIZE_PX, Points, View, to_fixed

FULL, HALF = 255, 120
"""HALF is the ego's box in road and route, and a broken line among the markings."""
ROUTE_POINTS = 80
ROUTE_PX = 16

ROAD_LAYER, ROUTE_LAYER, MARKINGS_LAYER = 0, 1, 2
VEHICLES = slice(3, 7)
WALKERS = slice(7, 11)
LIGHTS = slice(11, 15)
STOP_SIGNS = slice(15, 19)
"""Stop signs have layers of their own: they share the lights' mask channels, but not their colours in the picture."""


class Layers:
    """Draws one step into buffers that are used again on the next.

    Attributes:
        images: (19, 192, 192) uint8: the 15 mask channels in order (11 to 14 with lights only), then the stop
            signs of the 4 history steps. Overwritten by every ``draw``.
        codes: (192, 192) uint8 map bits of the view (see ``map_raster``).
        light_drawn, sign_drawn: 4 flags each: whether that history step's layer has anything in it.
    """

    def __init__(self, raster: MapRaster, stop_lines: Points) -> None:
        """Prepares the buffers of one map.

        Args:
            raster: The drawn map.
            stop_lines: (L, 2) complex map end points of its stop lines.
        """
        self.images = np.zeros((19, SIZE_PX, SIZE_PX), np.uint8)
        self.codes = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        self.light_drawn = [False] * len(HISTORY_STEPS)
        self.sign_drawn = [False] * len(HISTORY_STEPS)
        self._raster = raster
        self._stop_lines = stop_lines
        self._layers = list(self.images)
        self._ego = EgoBox(0.0, 0.0)

    def draw(
        self,
        view: View,
        frames: Sequence[Frame],
        route: Points,
        statics: Points,
        ego_half_extent: tuple[float, float],
    ) -> None:
        """Draws everything.

        Args:
            view: Where from.
            frames: The 4 history steps, oldest first.
            route: (K,) complex map points of the route ahead, at most 80 of which are drawn.
            statics: (S, 4) complex map corners of static obstacles.
            ego_half_extent: Half length and half width of the ego in metres.
        """
        self.clear()
        if (self._ego.half_length_m, self._ego.half_width_m) != ego_half_extent:
            self._ego = EgoBox(*ego_half_extent)
        self.draw_map(view)
        self.draw_route(view, route)
        self.draw_statics_and_ego(view, statics)
        self.draw_actors(view, frames)
        self.draw_stops(view, frames)

    def clear(self) -> None:
        """Wipes what the last step left; the map's layers are overwritten anyway."""
        self.images[1:].fill(0)

    def draw_map(self, view: View) -> None:
        """Cuts road and markings out of the map; a broken line wins over a solid one."""
        self._raster.warp(view, self.codes)
        codes, road, markings = self.codes, self._layers[ROAD_LAYER], self._layers[MARKINGS_LAYER]
        np.bitwise_and(codes, ROAD, out=road)
        np.multiply(road, FULL // ROAD, out=road)
        cv2.LUT(codes, _MARKING_LEVELS, dst=markings)

    def draw_route(self, view: View, route: Points) -> None:
        """Draws the next 80 route points as a line 3.2 m wide."""
        if not len(route):
            return
        line = to_fixed(view.to_pixels(route[:ROUTE_POINTS]))
        cv2.polylines(self._layers[ROUTE_LAYER], [line], False, (FULL,), ROUTE_PX, cv2.LINE_8, SHIFT)

    def draw_statics_and_ego(self, view: View, statics: Points) -> None:
        """Carves static obstacles out of the road, then puts the ego's box on road and route."""
        road = self._layers[ROAD_LAYER]
        if len(statics):
            for quad in visible(view, statics)[0]:
                fill(road, quad, 0)
        self._ego.paint(road, HALF)
        self._ego.paint(self._layers[ROUTE_LAYER], HALF)

    def draw_actors(self, view: View, frames: Sequence[Frame]) -> None:
        """Draws vehicles and walkers of all 4 steps: one projection for all, then one fill a box in view."""
        groups = [frame.vehicles for frame in frames] + [frame.walkers for frame in frames]
        quads, index = visible(view, np.concatenate(groups))
        layer = np.repeat(np.arange(VEHICLES.start, WALKERS.stop), [len(group) for group in groups])[index]
        layers = self._layers
        for quad, channel in zip(quads, layer.tolist(), strict=True):
            fill(layers[channel], quad, FULL)

    def draw_stops(self, view: View, frames: Sequence[Frame]) -> None:
        """Draws stop lines by colour and the stop sign to obey, for all 4 steps."""
        pixels = view.to_pixels(self._stop_lines)
        middle = pixels.mean(axis=1) - complex(SIZE_PX / 2, SIZE_PX / 2)
        reach = SIZE_PX / 2 + 20  # half a line of 10 m and its thickness
        index = np.flatnonzero((np.abs(middle.real) < reach) & (np.abs(middle.imag) < reach))
        lines = to_fixed(pixels[index])
        before: bytes | None = None
        for step, frame in enumerate(frames):
            levels = frame.light_levels[index]
            image = self._layers[LIGHTS.start + step]
            self.light_drawn[step] = bool(levels.any())
            if levels.tobytes() == before:
                np.copyto(image, self._layers[LIGHTS.start + step - 1])
            elif self.light_drawn[step]:
                for level in LEVELS:
                    same = list(lines[levels == level])
                    if same:
                        cv2.polylines(image, same, False, (level,), STOP_LINE_PX, cv2.LINE_8, SHIFT)
            before = levels.tobytes()
            self.sign_drawn[step] = len(frame.stop_sign) > 0
            for quad in visible(view, frame.stop_sign)[0] if self.sign_drawn[step] else ():
                fill(self._layers[STOP_SIGNS.start + step], quad, FULL)

    def paint_ego(self, image: NDArray[np.uint8], value: int) -> None:
        """Paints the ego's box onto a (192, 192) image."""
        self._ego.paint(image, value)

    def ego_touches_walker(self) -> bool:
        """Whether the ego's box and the current walkers' mask share a pixel."""
        return self._ego.touches(self._layers[WALKERS.stop - 1])

    def ego_touches(self, view: View, boxes: Points) -> bool:
        """Whether the ego's box shares a pixel with any of (N, 4) boxes, drawn by themselves."""
        image = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        for quad in visible(view, boxes)[0]:
            fill(image, quad, FULL)
        return self._ego.touches(image)


class EgoBox:
    """The ego's box in the view: always in the same place, so it is drawn once."""

    def __init__(self, half_length_m: float, half_width_m: float) -> None:
        """Draws the box."""
        self.half_length_m, self.half_width_m = half_length_m, half_width_m
        image = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        pose = np.array([[EGO_V / PX_PER_M, EGO_U / PX_PER_M, 0.0]])
        # A hair smaller: corners exactly between two pixels would round to the same side and the box would lean.
        extent = np.array([[half_length_m, half_width_m]]) - 1e-3
        box = corners(pose, extent)[0] * PX_PER_M
        fill(image, to_fixed(box.imag + 1j * box.real), 1)
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        self._window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        self._mask = image[self._window].astype(bool)

    def paint(self, image: NDArray[np.uint8], value: int) -> None:
        """Paints the box onto a (192, 192) image."""
        np.copyto(image[self._window], value, where=self._mask)

    def touches(self, image: NDArray[np.uint8]) -> bool:
        """Whether any pixel of the box is set in a (192, 192) image."""
        return bool(image[self._window][self._mask].any())


def _marking_levels() -> NDArray[np.uint8]:
    levels = np.zeros(256, np.uint8)
    for code in range(8):
        levels[code] = HALF if code & BROKEN else FULL if code & MARKING else 0
    return levels


_MARKING_LEVELS = _marking_levels()
