"""The record of one episode: the raw sums from which every metric can be recomputed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from sim_clients.metrics.energy import energy
from sim_clients.reward import RewardTerms
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import STEP_S, Scene
from sim_clients.simulator import EpisodeTask
from sim_clients.termination import EndReason


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode, as it stands in a log.

    Attributes:
        town: Name of the map.
        policy_id: What drove.
        route_seed, traffic_seed: The task; -1 if unknown.
        end_reason: Value of the ``EndReason``.
        steps: Transitions.
        duration_s: Simulated time.
        episode_return: Sum of the rewards.
        reward_speed, reward_position, reward_rotation, reward_action, reward_terminal: Sums of its terms.
        route_m: Length of the route.
        completed_m: Distance driven along it.
        completed: The route completion test held at some time.
        outside_lane_m: Distance driven outside all lanes.
        wrong_lane_m: Distance driven on lanes that run the other way.
        collisions_vehicle, collisions_walker, collisions_static: Collisions.
        collisions_not_at_fault: How many of them happened to a standing ego or from behind.
        red_lights, stop_signs: How many were run.
        speed_sum_mps: Sum of the planar speeds over all steps.
        icell_paper_sum_a, icell_physical_sum_a: Sums of the cell current over all steps.
        fuel_paper_sum_kg_per_s, fuel_physical_sum_kg_per_s: Sums of the fuel rate over all steps.
    """

    town: str = ""
    policy_id: str = ""
    route_seed: int = -1
    traffic_seed: int = -1
    end_reason: str = EndReason.FAILED.value
    steps: int = 0
    duration_s: float = 0.0
    episode_return: float = 0.0
    reward_speed: float = 0.0
    reward_position: float = 0.0
    reward_rotation: float = 0.0
    reward_action: float = 0.0
    reward_terminal: float = 0.0
    route_m: float = 0.0
    completed_m: float = 0.0
    completed: bool = False
    outside_lane_m: float = 0.0
    wrong_lane_m: float = 0.0
    collisions_vehicle: int = 0
    collisions_walker: int = 0
    collisions_static: int = 0
    collisions_not_at_fault: int = 0
    red_lights: int = 0
    stop_signs: int = 0
    speed_sum_mps: float = 0.0
    icell_paper_sum_a: float = 0.0
    icell_physical_sum_a: float = 0.0
    fuel_paper_sum_kg_per_s: float = 0.0
    fuel_physical_sum_kg_per_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The record as an object of JSON numbers, strings and booleans."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> EpisodeRecord:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: A field is missing, unknown, of another type, not finite or (but for sums that may be) negative.
        """
        names = {item.name: type(item.default) for item in fields(cls)}
        if missing := sorted(names.keys() - row.keys()):
            raise ValueError(f"missing field {missing[0]!r}")
        if unknown := sorted(row.keys() - names.keys()):
            raise ValueError(f"unknown field {unknown[0]!r}")
        values = {name: _checked(name, kind, row[name]) for name, kind in names.items()}
        if values["end_reason"] not in {reason.value for reason in EndReason}:
            raise ValueError(f"unknown end_reason {values['end_reason']!r}")
        return cls(**values)


_SIGNED = ("episode_return", "reward_", "icell_physical_sum_a", "route_seed", "traffic_seed")


def _checked(name: str, kind: type, value: object) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number:
        value = float(value)  # type: ignore[arg-type]
    if type(value) is not kind:
        raise ValueError(f"field {name!r} is {value!r}, not {kind.__name__}")
    if number and not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"field {name!r} is not finite")
    if number and value < 0 and not name.startswith(_SIGNED):  # type: ignore[operator]
        raise ValueError(f"field {name!r} is negative")
    return value


class EpisodeMetrics:
    """Adds up one episode. One object per episode.

    Args:
        task: What is driven.
        policy_id: What drives.
    """

    def __init__(self, task: EpisodeTask | None = None, policy_id: str = "") -> None:
        self._values: dict[str, Any] = EpisodeRecord(
            policy_id=policy_id,
            route_seed=task.route_seed if task else -1,
            traffic_seed=task.traffic_seed if task else -1,
        ).to_json()

    def update(self, scene: Scene, report: RuleReport, terms: RewardTerms) -> None:
        """Adds one transition: the scene that it led to, what the rules say of that, and its reward."""
        values, ego = self._values, scene.ego
        values["town"] = scene.map.name
        values["steps"] += 1
        values["duration_s"] = scene.time_s
        values["episode_return"] += terms.total
        for name, term in terms._asdict().items():
            values[f"reward_{name}"] += term
        values["route_m"] = scene.route.length_m
        values["completed_m"] = report.progress.distance_m
        values["completed"] = values["completed"] or report.progress.completed
        driven = ego.speed_mps * STEP_S
        values["outside_lane_m"] += driven * report.outside_lane
        values["wrong_lane_m"] += driven * report.wrong_lane
        for hit in report.hits:
            values[f"collisions_{hit.kind.value}"] += 1
            values["collisions_not_at_fault"] += not hit.at_fault
        values["red_lights"] += report.ran_red
        values["stop_signs"] += report.ran_stop
        values["speed_sum_mps"] += ego.speed_mps
        paper, physical = energy(ego, "paper"), energy(ego, "physical")
        values["icell_paper_sum_a"] += paper.icell_a
        values["icell_physical_sum_a"] += physical.icell_a
        values["fuel_paper_sum_kg_per_s"] += paper.fuel_kg_per_s
        values["fuel_physical_sum_kg_per_s"] += physical.fuel_kg_per_s

    def finish(self, end_reason: EndReason) -> EpisodeRecord:
        """Returns the record of the episode so far."""
        return EpisodeRecord(**{**self._values, "end_reason": end_reason.value})
