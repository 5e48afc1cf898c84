"""Collisions as overlaps of oriented boxes: the same test for every simulator (Found-RL, termination 5)."""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

import numpy as np

from sim_clients.geometry import overlaps
from sim_clients.scene import Actors, Scene

SAME_ACTOR_S = 5.0
"""A further contact with the actor that was hit last is the same collision for this long."""
SAME_PLACE_M = 3.0
"""A contact this near to an earlier collision belongs to it."""
FORGET_PLACE_M = 5.0
"""An earlier collision is over once the ego is this far away from it."""
STANDING_MPS = 0.1


class HitKind(Enum):
    """What was hit."""

    VEHICLE = "vehicle"
    WALKER = "walker"
    STATIC = "static"


class Hit(NamedTuple):
    """A new collision.

    Attributes:
        kind: What was hit.
        actor_id: Its id.
        at_fault: False if the ego stood or the other came from behind (its centre behind the ego's rear). It changes
            no score: the paper counts every collision.
    """

    kind: HitKind
    actor_id: int
    at_fault: bool


class CollisionMonitor:
    """Finds new collisions, each counted once.

    Boxes that overlap collide, and so does what the simulator itself reports in ``Scene.impulse_actor_ids``.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins an episode."""
        self._last: tuple[HitKind, int] | None = None  # ids are unique in their kind only
        self._last_time_s = -math.inf
        self._places: list[tuple[float, float]] = []

    def update(self, scene: Scene) -> tuple[Hit, ...]:
        """Returns the collisions that began on this step."""
        ego = scene.ego
        kinds = (
            (HitKind.VEHICLE, scene.vehicles),
            (HitKind.WALKER, scene.walkers),
            (HitKind.STATIC, scene.statics),
        )
        contacts: list[tuple[HitKind, int, bool]] = []
        for kind, actors in kinds:
            if len(actors):
                contacts += [(kind, actor_id, fault) for actor_id, fault in _contacts(scene, actors)]
        for actor_id in scene.impulse_actor_ids:
            if all(actor_id != known for _, known, _ in contacts):
                contacts.append(_reported(actor_id, kinds))
        if not contacts and not self._places:
            return ()
        self._places = [(x, y) for x, y in self._places if math.hypot(ego.x - x, ego.y - y) <= FORGET_PLACE_M]
        if scene.time_s - self._last_time_s > SAME_ACTOR_S:
            self._last = None
        hits = []
        for kind, actor_id, fault in contacts:
            same_place = any(math.hypot(ego.x - x, ego.y - y) <= SAME_PLACE_M for x, y in self._places)
            if (kind, actor_id) == self._last or same_place:
                continue
            hits.append(Hit(kind, actor_id, fault))
            self._last, self._last_time_s = (kind, actor_id), scene.time_s
            self._places.append((ego.x, ego.y))
        return tuple(hits)


def _contacts(scene: Scene, actors: Actors) -> list[tuple[int, bool]]:
    ego = scene.ego
    found = overlaps(
        (ego.x, ego.y, ego.yaw), (ego.half_length_m, ego.half_width_m), actors.pose, actors.half_extent
    )
    if not found.any():
        return []
    contacts = []
    for index in np.nonzero(found)[0]:
        dx, dy = actors.pose[index, 0] - ego.x, actors.pose[index, 1] - ego.y
        along = dx * math.cos(ego.yaw) + dy * math.sin(ego.yaw)
        at_fault = ego.speed_mps >= STANDING_MPS and bool(along > -ego.half_length_m)
        contacts.append((int(actors.ids[index]), at_fault))
    return contacts


def _reported(actor_id: int, kinds: tuple[tuple[HitKind, Actors], ...]) -> tuple[HitKind, int, bool]:
    """A contact that only the simulator saw: what is in no list is static."""
    for kind, actors in kinds:
        if np.any(actors.ids == actor_id):
            return kind, actor_id, True
    return HitKind.STATIC, actor_id, True
