"""The summary of many episodes (Found-RL, metrics)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sim_clients.metrics.episode import EpisodeRecord

STATIC_FACTOR = 0.65
VEHICLE_FACTOR = 0.60
WALKER_FACTOR = 0.50
RED_LIGHT_FACTOR = 0.70
STOP_SIGN_FACTOR = 0.80
"""Infraction penalty coefficients, those of the CARLA leaderboard 1.0."""
SUCCESS_SHARE = 0.999
KM_FLOOR = 0.001
"""An episode counts as at least one metre long."""


def route_completion(record: EpisodeRecord) -> float:
    """1 if the route was completed (more than 99 % of it and within 10 m of its goal), else the share driven, 0..1."""
    if record.completed:
        return 1.0
    if record.route_m <= 0.0:
        return 0.0
    return min(record.completed_m / record.route_m, 1.0)


def infraction_penalty(record: EpisodeRecord) -> float:
    """A factor 0..1: the share of the way driven in its own lanes, times a coefficient for each infraction."""
    off_lane_km = (record.outside_lane_m + record.wrong_lane_m) / 1000.0
    return (
        max(1.0 - off_lane_km / completed_km(record), 0.0)
        * STATIC_FACTOR**record.collisions_static
        * VEHICLE_FACTOR**record.collisions_vehicle
        * WALKER_FACTOR**record.collisions_walker
        * RED_LIGHT_FACTOR**record.red_lights
        * STOP_SIGN_FACTOR**record.stop_signs
    )


def driving_score(record: EpisodeRecord) -> float:
    """Route completion times infraction penalty, 0..1."""
    return route_completion(record) * infraction_penalty(record)


def completed_km(record: EpisodeRecord) -> float:
    """Distance driven along the route, at least one metre."""
    return max(record.completed_m / 1000.0, KM_FLOOR)


def succeeded(record: EpisodeRecord) -> bool:
    """True if the route was completed (a share of at least 0.999; completion counts as 1)."""
    return route_completion(record) >= SUCCESS_SHARE


def infractions(record: EpisodeRecord) -> int:
    """Collisions, red lights and stop signs run."""
    collisions = record.collisions_vehicle + record.collisions_walker + record.collisions_static
    return collisions + record.red_lights + record.stop_signs


def summarise(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Means over episodes; what is per kilometre is weighted by distance (sum of counts over sum of kilometres).

    Returns:
        The figures of ``codriver evaluate``. First ``town``, ``routes``, ``episode_return``, ``driving_score``,
        ``route_completion``, ``infraction_penalty``, ``success_rate``, ``collisions_vehicle_per_km``,
        ``collisions_walker_per_km``, ``red_lights_per_km``, ``speed_mps``, ``icell_a`` and ``fuel_kg_per_s``
        (both as the paper computes them), then further ones; ``*_std`` are population standard deviations over
        episodes.

    Raises:
        ValueError: No records.
    """
    if not records:
        raise ValueError("no episodes to summarise")
    km = math.fsum(completed_km(record) for record in records)  # the same in whatever order they ended

    def per_km(name: str) -> float:
        return float(sum(getattr(record, name) for record in records) / km)

    def per_step(name: str) -> list[float]:
        return [getattr(record, name) / max(record.steps, 1) for record in records]

    towns = sorted({record.town for record in records})
    returns = [record.episode_return for record in records]
    scores = [driving_score(record) for record in records]
    completions = [route_completion(record) for record in records]
    penalties = [infraction_penalty(record) for record in records]
    strict = [float(succeeded(record) and infractions(record) == 0) for record in records]
    ends = [record.end_reason for record in records]
    return {
        "town": "+".join(towns),
        "routes": len(records),
        "episode_return": _mean(returns),
        "driving_score": _mean(scores),
        "route_completion": _mean(completions),
        "infraction_penalty": _mean(penalties),
        "success_rate": _mean([float(succeeded(record)) for record in records]),
        "collisions_vehicle_per_km": per_km("collisions_vehicle"),
        "collisions_walker_per_km": per_km("collisions_walker"),
        "red_lights_per_km": per_km("red_lights"),
        "speed_mps": _mean(per_step("speed_sum_mps")),
        "icell_a": _mean(per_step("icell_paper_sum_a")),
        "fuel_kg_per_s": _mean(per_step("fuel_paper_sum_kg_per_s")),
        "icell_physical_a": _mean(per_step("icell_physical_sum_a")),
        "fuel_physical_kg_per_s": _mean(per_step("fuel_physical_sum_kg_per_s")),
        "strict_success_rate": _mean(strict),
        "collisions_static_per_km": per_km("collisions_static"),
        "stop_signs_per_km": per_km("stop_signs"),
        "collisions_not_at_fault": sum(record.collisions_not_at_fault for record in records),
        "episode_return_std": _deviation(returns),
        "driving_score_std": _deviation(scores),
        "route_completion_std": _deviation(completions),
        "infraction_penalty_std": _deviation(penalties),
        "mean_route_m": _mean([record.route_m for record in records]),
        "completed_km": km,
        "end_reasons": {reason: ends.count(reason) for reason in sorted(set(ends))},
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
