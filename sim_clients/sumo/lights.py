"""Colours of the stop lines and how long they last, from the programmes of the net."""

from __future__ import annotations

import libsumo
import numpy as np
from numpy.typing import NDArray

from sim_clients.scene import Floats, LightColour, SceneMap
from sim_clients.sumo.net import Net

_COLOURS = {"G": LightColour.GREEN, "g": LightColour.GREEN, "y": LightColour.YELLOW, "Y": LightColour.YELLOW}
_STRICTNESS = (LightColour.RED, LightColour.YELLOW, LightColour.GREEN)


class Lights:
    """Reads all lights of a running simulation.

    A lane with several ways on shows the strictest of their colours; in the shipped towns they are equal, because
    each approach has its own green.
    """

    def __init__(self, net: Net, scene_map: SceneMap) -> None:
        self._count = len(scene_map.stop_lines)
        of_lane = {line.lane_id: index for index, line in enumerate(scene_map.stop_lines)}
        lines: dict[str, dict[int, set[int]]] = {}
        for link in net.links:
            if link.light is not None and link.begin in of_lane:
                index = of_lane[link.begin]
                lines.setdefault(link.light, {}).setdefault(index, set()).add(link.light_index)
        self._tables = []
        for light, members in sorted(lines.items()):
            program = net.programs[light]
            indices = np.array(sorted(members))
            colours = np.array(
                [
                    [self._strictest({state[link] for link in members[line]}) for line in indices]
                    for _, state in program
                ],
                np.uint8,
            )
            durations = np.array([duration for duration, _ in program])
            after, total = self._runs(colours, durations)
            self._tables.append((light, indices, colours, after, total))

    @staticmethod
    def _strictest(states: set[str]) -> int:
        colours = [_COLOURS.get(state, LightColour.RED) for state in states]
        return int(min(colours, key=_STRICTNESS.index))

    @staticmethod
    def _runs(colours: NDArray[np.uint8], durations: Floats) -> tuple[Floats, Floats]:
        """For each phase and line: seconds of this colour after the phase, and length of the whole run."""
        phases, lines = colours.shape
        after, before = np.zeros((phases, lines)), np.zeros((phases, lines))
        for line in range(lines):
            for phase in range(phases):
                for store, step in ((after, 1), (before, -1)):
                    other = (phase + step) % phases
                    while other != phase and colours[other, line] == colours[phase, line]:
                        store[phase, line] += durations[other]
                        other = (other + step) % phases
        return after, after + before + durations[:, None]

    def read(self, now_s: float) -> tuple[NDArray[np.uint8], Floats]:
        """Returns colours (uint8) and remaining shares (0..1) of all stop lines."""
        colours, remaining = np.zeros(self._count, np.uint8), np.zeros(self._count)
        for light, indices, table, after, total in self._tables:
            phase = libsumo.trafficlight.getPhase(light)
            left = libsumo.trafficlight.getNextSwitch(light) - now_s
            colours[indices] = table[phase]
            remaining[indices] = np.clip((after[phase] + left) / total[phase], 0.0, 1.0)
        return colours, remaining
