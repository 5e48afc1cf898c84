"""Places to stop at: stop lines, stop signs, junctions that are not free, and the last free metre before a meeting."""

from __future__ import annotations

from sim_clients.expert.conflicts import Obstacle
from sim_clients.expert.settings import ExpertSettings
from sim_clients.expert.stops import RouteStops
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import LightColour, Scene

_SLOW_MPS = 1.0
_EXIT_GAP_M = 2.0
_YELLOW_MPS2 = 2.5
_ENTRY_MPS2 = 3.0


class StopPoints:
    """Stops on one route. All distances that it returns are what the ego may still drive.

    Args:
        stops: Lines, signs and junctions of the route.
        settings: The numbers.
    """

    def __init__(self, stops: RouteStops, settings: ExpertSettings) -> None:
        self._stops = stops
        self._settings = settings

    def signals(self, scene: Scene, report: RuleReport, start_m: float) -> list[tuple[str, float]]:
        """Stops at red and yellow lights and at stop signs that were not obeyed yet."""
        ego, settings = scene.ego, self._settings
        speed = ego.speed_mps
        front = start_m + ego.half_length_m
        points = []
        for line in self._stops.lines_within(front - 2.0, front + settings.look_ahead):
            colour = LightColour(int(scene.light_colours[line.index]))
            if colour not in (LightColour.RED, LightColour.YELLOW):
                continue
            room = line.distance_m - front
            needed = speed**2 / (2 * max(room, 0.1))
            if colour is LightColour.YELLOW and needed > _YELLOW_MPS2:
                continue
            if colour is LightColour.RED and room < 0.0 and speed > 1.0:
                continue
            points.append(("light", room - settings.line_gap))
        for sign in self._stops.signs_within(start_m - 3.0, start_m + settings.look_ahead):
            target = report.stop.target
            if target is not None and target.id == sign.id and report.stop.satisfied:
                continue
            room = sign.distance_m - start_m
            if room > -sign.half_length_m:
                points.append(("sign", room if room > 0.0 else 0.3))
        return points

    def exits(self, scene: Scene, start_m: float, leads: list[Obstacle]) -> list[tuple[str, float]]:
        """Stops before a junction that a slow vehicle ahead would not let the ego leave."""
        ego = scene.ego
        front = start_m + ego.half_length_m
        span = self._stops.next_junction(start_m)
        if span is None or front > span.begin_m + 0.5 or not leads:
            return []
        lead = min(leads, key=lambda obstacle: obstacle.gap_m)
        rear_m = front + lead.gap_m
        needed = span.end_m + 2 * ego.half_length_m + _EXIT_GAP_M
        if lead.speed_mps > _SLOW_MPS or not span.begin_m < rear_m < needed:
            return []
        return [("exit", span.begin_m - self._settings.line_gap - front)]

    def before_junction(self, scene: Scene, start_m: float, wanted: float) -> float:
        """Where to stop for a meeting: before the junction, if the ego is not on it yet and can stop with comfort."""
        ego = scene.ego
        front = start_m + ego.half_length_m
        span = self._stops.next_junction(start_m)
        if span is not None and front < span.begin_m and front + wanted > span.begin_m:
            entry = span.begin_m - 0.3 - front
            can_stop = entry > ego.speed_mps**2 / (2 * _ENTRY_MPS2)
            if can_stop and front + wanted < span.end_m + 2 * ego.half_length_m:
                return entry
        return wanted
