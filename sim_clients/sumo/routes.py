"""Plans the ego's route: roads, then lanes, then points every metre with commands."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from sim_clients.scene import Command, Floats, Route, SceneMap
from sim_clients.simulator import EpisodeTask, SimulatorError
from sim_clients.sumo.graph import Passage, RoadGraph

CHANGE_LENGTH_M = 25.0
NOTICE_M = 10.0
"""A command is in force this far ahead of what it is about."""
TURN_RAD = np.deg2rad(30.0)
UNSETTLED_M = 15.0
"""The end of an endless route is held back: its commands may still change."""


@dataclass
class _Piece:
    points: Floats
    lane_id: str
    command: Command
    junction: int = -1


@dataclass
class RoutePlan:
    """A route under construction.

    Attributes:
        roads: Roads on the way.
        lane: Lane on which it ends now.
        at_m: Where on that lane.
        route: The route so far.
    """

    roads: list[str]
    lane: str
    at_m: float
    rng: random.Random
    endless: bool
    pieces: list[_Piece] = field(default_factory=list)
    route: Route | None = None


def _along(points: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def _part(points: Floats, begin: float, end: float) -> Floats:
    """The stretch of a polyline between two distances."""
    along = _along(points)
    begin, end = max(begin, 0.0), min(end, float(along[-1]))
    inner = along[(along > begin + 1e-6) & (along < end - 1e-6)]
    at = np.concatenate([[begin], inner, [max(end, begin)]])
    return np.stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])], axis=1)


def _blend(one: Floats, other: Floats, begin: float, end: float) -> Floats:
    """A smooth diagonal from one lane to the next, between two distances."""
    share = np.linspace(0.0, 1.0, 26)
    at = begin + share * (end - begin)
    own, its = _along(one), _along(other)
    scaled = at * its[-1] / own[-1]
    a = np.stack([np.interp(at, own, one[:, k]) for k in (0, 1)], axis=1)
    b = np.stack([np.interp(scaled, its, other[:, k]) for k in (0, 1)], axis=1)
    weight = (share * share * (3 - 2 * share))[:, None]
    return np.asarray(a + weight * (b - a), np.float64)


class RoutePlanner:
    """Plans routes on one map.

    Args:
        scene_map: The map.
        graph: Its roads.
    """

    def __init__(self, scene_map: SceneMap, graph: RoadGraph) -> None:
        self._map = scene_map
        self._graph = graph

    def plan(self, task: EpisodeTask) -> RoutePlan:
        """Plans the route of a task; the same seed and demands give the same route.

        Raises:
            SimulatorError: The town has no such route.
        """
        rng = random.Random(f"route/{task.route_seed}")
        starts = sorted(road for road, length in self._graph.length_m.items() if length > 45.0)
        for attempt in range(300):
            chained = attempt >= 100
            plan = self._attempt(rng, starts, task, chained)
            if plan is not None:
                while task.endless and plan.route is not None and plan.route.length_m < 1100.0:
                    self.extend(plan)
                return plan
        raise SimulatorError(
            f"no route of {task.min_route_m:.0f} m with {task.min_signals} signals in {self._map.name}"
        )

    def _attempt(
        self, rng: random.Random, starts: list[str], task: EpisodeTask, chained: bool
    ) -> RoutePlan | None:
        graph = self._graph
        begin = rng.choice(starts)
        roads = [begin]
        for _ in range(12 if chained else 1):
            way = graph.shortest(roads[-1], rng.choice(starts), rng)
            if way is None:
                return None
            roads += way[1:]
            if sum(graph.length_m[road] for road in roads) > task.min_route_m:
                break
        if sum(road in graph.signalised for road in roads[:-1]) < task.min_signals:
            return None
        lane = rng.choice(graph.lanes[begin])
        at = rng.uniform(8.0, graph.length_m[begin] - 35.0)
        goal = rng.uniform(0.4, 0.9) * graph.length_m[roads[-1]]
        plan = RoutePlan([begin], lane, at, rng, task.endless)
        if not self._drive(plan, roads, goal, free_start=True):
            return None
        self._settle(plan)
        assert plan.route is not None
        return plan if plan.route.length_m >= task.min_route_m or task.endless else None

    def extend(self, plan: RoutePlan) -> None:
        """Drives on to another random goal; the points so far stay as they are."""
        starts = sorted(road for road, length in self._graph.length_m.items() if length > 45.0)
        for _ in range(100):
            way = self._graph.shortest(plan.roads[-1], plan.rng.choice(starts), plan.rng)
            if way is None:
                continue
            goal = plan.rng.uniform(0.4, 0.9) * self._graph.length_m[way[-1]]
            if self._drive(plan, way, goal, free_start=False):
                self._settle(plan)
                return
        raise SimulatorError(f"no way on from road {plan.roads[-1]} in {self._map.name}")

    def _choose_lanes(self, plan: RoutePlan, roads: list[str], free_start: bool) -> list[Passage] | None:
        """Cheapest sequence of passages; a lane change costs about 1, on a short road more than any detour."""
        graph, rng = self._graph, plan.rng
        costs: dict[str, tuple[float, list[Passage]]] = {plan.lane: (0.0, [])}
        if free_start:
            costs = {lane: (0.0, []) for lane in graph.lanes[roads[0]]}
        for number, (road, after) in enumerate(pairwise(roads)):
            room = graph.length_m[road] - (plan.at_m if number == 0 else 0.0)
            order = graph.lanes[road]
            options: dict[str, tuple[float, list[Passage]]] = {}
            for passage in graph.passages[road][after]:
                preference = rng.uniform(0.0, 1.3)
                for lane, (cost, way) in costs.items():
                    changes = abs(order.index(lane) - order.index(passage.lane_in))
                    if changes and ((free_start and number == 0) or room < 30.0 + 30.0 * changes):
                        continue
                    total = cost + changes + preference
                    if total < options.get(passage.lane_out, (float("inf"),))[0]:
                        options[passage.lane_out] = (total, [*way, passage])
            costs = options
        return min(costs.values(), key=lambda item: item[0])[1] if costs else None

    def _drive(self, plan: RoutePlan, roads: list[str], goal_m: float, *, free_start: bool) -> bool:
        passages = self._choose_lanes(plan, roads, free_start)
        if passages is None:
            return False
        if free_start and passages:
            plan.lane = passages[0].lane_in
        lanes = self._map.lanes
        for passage in passages:
            self._keep_or_change(plan, passage.lane_in)
            begin, end = lanes[passage.lane_in].centre, lanes[passage.lane_out].centre
            command, number = self._command(begin, end), len(plan.pieces)
            for inner in passage.inner:
                junction = number if lanes[inner].in_junction else -1
                plan.pieces.append(
                    _Piece(
                        lanes[inner].centre,
                        inner,
                        command if junction >= 0 else Command.LANE_FOLLOW,
                        junction,
                    )
                )
            plan.lane, plan.at_m = passage.lane_out, 0.0
        centre = lanes[plan.lane].centre
        plan.pieces.append(_Piece(_part(centre, plan.at_m, goal_m), plan.lane, Command.LANE_FOLLOW))
        plan.at_m = goal_m
        plan.roads += roads[1:]
        return True

    def _keep_or_change(self, plan: RoutePlan, target: str) -> None:
        """Drives to the end of the road, changing to the target lane on the way."""
        lanes = self._map.lanes
        while plan.lane != target:
            lane = lanes[plan.lane]
            length = float(_along(lane.centre)[-1])
            left = int(plan.lane.rsplit("_", 1)[1]) < int(target.rsplit("_", 1)[1])
            after = lane.left if left else lane.right
            assert after is not None
            changes = abs(int(plan.lane.rsplit("_", 1)[1]) - int(target.rsplit("_", 1)[1]))
            room = length - plan.at_m - 12.0 - 5.0
            change = min(CHANGE_LENGTH_M, room / changes)
            begin = plan.at_m + 5.0 + plan.rng.uniform(0.0, max(room / changes - change, 0.0))
            centre, other = lane.centre, lanes[after].centre
            command = Command.CHANGE_LANE_LEFT if left else Command.CHANGE_LANE_RIGHT
            plan.pieces.append(_Piece(_part(centre, plan.at_m, begin), plan.lane, Command.LANE_FOLLOW))
            blend = _blend(centre, other, begin, begin + change)
            plan.pieces.append(_Piece(blend[:14], plan.lane, command))
            plan.pieces.append(_Piece(blend[13:], after, command))
            plan.lane = after
            plan.at_m = (begin + change) * float(_along(other)[-1]) / length
        centre = lanes[plan.lane].centre
        plan.pieces.append(_Piece(_part(centre, plan.at_m, float("inf")), plan.lane, Command.LANE_FOLLOW))

    @staticmethod
    def _command(begin: Floats, end: Floats) -> Command:
        before, after = begin[-1] - begin[-2], end[1] - end[0]
        turn = np.arctan2(before[0] * after[1] - before[1] * after[0], before @ after)
        if abs(turn) < TURN_RAD:
            return Command.STRAIGHT
        return Command.LEFT if turn > 0 else Command.RIGHT

    @staticmethod
    def _settle(plan: RoutePlan) -> None:
        """Samples the pieces every metre."""
        points = np.vstack([piece.points for piece in plan.pieces])
        tags = np.repeat(np.arange(len(plan.pieces)), [len(piece.points) for piece in plan.pieces])
        along = _along(points)
        total = float(along[-1])
        distances = np.arange(0.0, total, 1.0)
        if plan.endless:
            distances = distances[: max(len(distances) - int(UNSETTLED_M), 2)]
        elif total - distances[-1] > 1e-6:
            distances = np.append(distances, total)
        x = np.interp(distances, along, points[:, 0])
        y = np.interp(distances, along, points[:, 1])
        # One point ahead and one behind give a heading that does not flicker on short segments.
        ahead = np.minimum(distances + 0.5, total)
        behind = np.maximum(distances - 0.5, 0.0)
        yaws = np.arctan2(
            np.interp(ahead, along, points[:, 1]) - np.interp(behind, along, points[:, 1]),
            np.interp(ahead, along, points[:, 0]) - np.interp(behind, along, points[:, 0]),
        )
        owner = tags[np.minimum(np.searchsorted(along, distances, side="right"), len(tags) - 1)]
        own = np.array([int(piece.command) for piece in plan.pieces])[owner]
        commands = own.copy()
        free = own == Command.LANE_FOLLOW
        notice = int(NOTICE_M)
        for index in np.flatnonzero(free[:-1] & ~free[1:])[::-1]:
            first = max(index - notice + 1, 0)
            window = slice(first, index + 1)
            commands[window] = np.where(free[window], own[index + 1], commands[window])
        plan.route = Route(
            points=np.stack([x, y], axis=1),
            yaws_rad=yaws,
            lane_ids=tuple(plan.pieces[number].lane_id for number in owner),
            commands=commands.astype(np.int64),
            distances_m=distances,
        )
