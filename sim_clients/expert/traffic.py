"""What the traffic around the ego means for its path: obstacles to follow and meetings to avoid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim_clients.expert.conflicts import Meeting, Obstacle, in_view, meetings, obstacles_on_path
from sim_clients.expert.forecast import Forecast, VehicleForecaster, forecast_walkers
from sim_clients.expert.path import PathAhead
from sim_clients.expert.right_of_way import Claim
from sim_clients.expert.settings import ExpertSettings
from sim_clients.scene import Floats, Scene, SceneMap

_FOLLOWER_YAW_RAD = 1.0


class TrafficView(NamedTuple):
    """What holds the ego back.

    Attributes:
        obstacles: ("lead" or "walker", obstacle) on the path now.
        leads: Those of them that are vehicles.
        meetings: ("meeting" or "walker", meeting, claim) predicted.
    """

    obstacles: list[tuple[str, Obstacle]]
    leads: list[Obstacle]
    meetings: list[tuple[str, Meeting, Claim]]


class Traffic:
    """Looks at vehicles, walkers and static obstacles near the ego.

    Args:
        map: The map.
        settings: The numbers.
    """

    def __init__(self, map: SceneMap, settings: ExpertSettings) -> None:
        self._settings = settings
        self.forecaster = VehicleForecaster(map, settings)

    def look(self, scene: Scene, path: PathAhead, run: Floats, patience: float) -> TrafficView:
        """Judges the traffic against the ego's path.

        Args:
            scene: The scene.
            path: The ego's path.
            run: (T,) metres that the ego would drive if nobody held it back.
            patience: 1 at first, towards 0 the longer the ego stands; scales the time margins.
        """
        ego, settings = scene.ego, self._settings
        view = (settings.view_ahead, settings.view_behind, settings.view_side)
        half = (ego.half_length_m, ego.half_width_m + settings.side_margin)
        vehicles = in_view(ego, scene.vehicles, *view)
        walkers = in_view(ego, scene.walkers, *view)
        leads = obstacles_on_path(path, half, ego, scene.vehicles, vehicles)
        obstacles = [("lead", lead) for lead in leads]
        statics = in_view(ego, scene.statics, *view)
        obstacles += [("lead", o) for o in obstacles_on_path(path, half, ego, scene.statics, statics)]
        close = (ego.half_length_m, ego.half_width_m + settings.pavement_margin)
        pavement = scene.walker_on_pavement[walkers]
        for width, rows in ((half, walkers[~pavement]), (close, walkers[pavement])):
            obstacles += [("walker", o) for o in obstacles_on_path(path, width, ego, scene.walkers, rows)]
        blocking = {lead.row for lead in leads}
        free = np.array([row for row in vehicles.tolist() if row not in blocking], np.int64)
        found = self._vehicle_meetings(scene, path, half, free, run, patience)
        found += self._walker_meetings(scene, path, half, walkers, run)
        return TrafficView(obstacles, leads, found)

    def _vehicle_meetings(
        self,
        scene: Scene,
        path: PathAhead,
        half: tuple[float, float],
        rows: NDArray[np.int64],
        run: Floats,
        patience: float,
    ) -> list[tuple[str, Meeting, Claim]]:
        settings = self._settings
        forecast = self.forecaster.forecast(scene, rows)
        found = meetings(
            path,
            half,
            forecast,
            run,
            settings.time_step,
            settings.vehicle_margin_before * patience,
            settings.vehicle_margin_after * patience,
        )
        return [
            (
                "meeting",
                meeting,
                Claim(bool(forecast.waits[meeting.future]), bool(forecast.on_ring[meeting.future])),
            )
            for meeting in found
            if not self._follows_ego(scene, forecast, meeting)
        ]

    def _walker_meetings(
        self, scene: Scene, path: PathAhead, half: tuple[float, float], rows: NDArray[np.int64], run: Floats
    ) -> list[tuple[str, Meeting, Claim]]:
        settings, speed = self._settings, scene.ego.speed_mps
        times, margin = self.forecaster.times, settings.walker_margin
        pavement = scene.walker_on_pavement[rows]
        found: list[Meeting] = []
        close = (half[0], scene.ego.half_width_m + settings.pavement_margin)
        for chosen, width, radius, horizon, hardest in (
            (rows[~pavement], half, settings.walker_radius, settings.horizon, np.inf),
            (rows[pavement], close, 0.0, settings.pavement_horizon, settings.pavement_deceleration),
        ):
            forecast = forecast_walkers(scene.walkers, chosen, times, radius)
            for meeting in meetings(path, width, forecast, run, settings.time_step, margin, margin, horizon):
                room = meeting.stop_m - 1.0
                if speed < 0.5 or (room > 0.0 and speed**2 / (2 * room) < hardest):
                    found.append(meeting)
        return [
            ("walker", meeting, Claim(False, False))
            for meeting in found
            if meeting.stop_m > 0.0 or self._before_bumper(scene, meeting)
        ]

    def _before_bumper(self, scene: Scene, meeting: Meeting) -> bool:
        """False for a walker beside the car, who would meet its flank: standing still would not help."""
        ego = scene.ego
        x, y, _ = scene.walkers.pose[meeting.row].tolist()
        return bool((x - ego.x) * np.cos(ego.yaw) + (y - ego.y) * np.sin(ego.yaw) > ego.half_length_m)

    def _follows_ego(self, scene: Scene, forecast: Forecast, meeting: Meeting) -> bool:
        """True for a vehicle behind the ego that would drive into it from behind: braking would not help."""
        ego = scene.ego
        x, y, yaw = scene.vehicles.pose[meeting.row].tolist()
        behind = (x - ego.x) * np.cos(ego.yaw) + (y - ego.y) * np.sin(ego.yaw) < 0.0
        turn = abs((yaw - ego.yaw + np.pi) % (2 * np.pi) - np.pi)
        return bool(behind and turn < _FOLLOWER_YAW_RAD and meeting.stop_m <= 0.0)
