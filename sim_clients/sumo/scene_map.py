"""From a SUMO net to the neutral :class:`~sim_clients.scene.SceneMap`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sim_clients.scene import Floats, Lane, LaneMarking, SceneMap, StopLine, StopSign
from sim_clients.sumo.net import Net, NetLane, read_net


def offset(points: Floats, left: float) -> Floats:
    """Shifts a polyline sideways, corners mitred.

    Args:
        points: (N, 2) polyline.
        left: Metres to the left.
    """
    steps = np.diff(points, axis=0)
    normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / np.linalg.norm(steps, axis=1, keepdims=True)
    before, after = np.vstack([normals[:1], normals]), np.vstack([normals, normals[-1:]])
    mitre = before + after
    # Length 1 along each of both normals; a sharp corner is cut at twice the width.
    scale = 2.0 / np.maximum(np.sum(mitre * mitre, axis=1, keepdims=True), 1.0)
    return np.asarray(points + left * mitre * scale, np.float64)


def ribbon(points: Floats, width: float) -> Floats:
    """Polygon of a polyline with a width."""
    return np.vstack([offset(points, width / 2), offset(points, -width / 2)[::-1]])


def _clean(shape: Floats) -> Floats:
    """Drops points that repeat the one before."""
    keep = np.r_[True, np.linalg.norm(np.diff(shape, axis=0), axis=1) > 1e-3]
    return shape[keep] if keep.sum() > 1 else shape + np.array([[0.0, 0.0], [0.01, 0.0]])[: len(shape)]


def _drives(lane: NetLane) -> bool:
    return not lane.pavement and lane.function in ("normal", "internal")


def _lanes(net: Net) -> dict[str, Lane]:
    plain = tuple(f":{junction}_" for junction in net.extras["plain_junctions"])
    driving = {name: lane for name, lane in net.lanes.items() if _drives(lane)}
    successors: dict[str, list[str]] = {name: [] for name in driving}
    for link in net.links:
        if link.begin in driving:
            successors[link.begin].append(link.via or link.end)
    lanes = {}
    for name, lane in driving.items():
        internal = lane.function == "internal"
        neighbours = {}
        for side, step in (("left", 1), ("right", -1)):
            other = f"{lane.edge}_{lane.index + step}"
            neighbours[side] = other if not internal and other in driving else None
        lanes[name] = Lane(
            id=name,
            centre=_clean(lane.shape),
            width_m=lane.width_m,
            in_junction=internal and not name.startswith(plain),
            speed_limit_mps=lane.limit_mps,
            left=neighbours["left"],
            right=neighbours["right"],
            successors=tuple(dict.fromkeys(successors[name])),
        )
    return lanes


def opposite(edge: str) -> str:
    """The edge in the other direction on the same road (built from one OpenDRIVE road)."""
    return edge[1:] if edge.startswith("-") else f"-{edge}"


def _markings(net: Net, lanes: dict[str, Lane]) -> list[LaneMarking]:
    markings = []
    edges = {lane.edge for lane in net.lanes.values()}
    for name, lane in lanes.items():
        if name.startswith(":"):
            continue
        markings.append(LaneMarking(offset(lane.centre, -lane.width_m / 2), broken=lane.right is not None))
        edge = net.lanes[name].edge
        # The line between the directions belongs to both; one of them paints it.
        if lane.left is None and not (opposite(edge) in edges and edge.startswith("-")):
            markings.append(LaneMarking(offset(lane.centre, lane.width_m / 2), broken=False))
    return markings


def _stop_lines(net: Net, lanes: dict[str, Lane]) -> list[StopLine]:
    controlled = {link.begin for link in net.links if link.light is not None and link.begin in lanes}
    stop_lines = []
    for name in sorted(controlled):
        centre = lanes[name].centre
        step = centre[-1] - centre[-2]
        yaw = float(np.arctan2(step[1], step[0]))
        stop_lines.append(StopLine(f"light:{name}", name, centre[-1].copy(), yaw, lanes[name].width_m))
    return stop_lines


@lru_cache(maxsize=4)
def read_map(town: str) -> SceneMap:
    """Reads the map of a town.

    Raises:
        SimulatorError: There is no such town.
    """
    net = read_net(town)
    lanes = _lanes(net)
    roads = [ribbon(lane.centre, lane.width_m) for lane in lanes.values()]
    roads += [np.array(area, np.float64) for area in net.extras["junction_areas"]]
    pavements, crossings = [], []
    for lane in net.lanes.values():
        if lane.function == "walkingarea":
            if len(lane.shape) > 2:
                pavements.append(lane.shape)
        elif lane.function == "crossing":
            crossings.append(ribbon(_clean(lane.shape), lane.width_m))
        elif lane.pavement:
            pavements.append(ribbon(_clean(lane.shape), lane.width_m))
    signs = tuple(
        StopSign(
            id=sign["id"],
            lane_id=sign["lane_id"],
            centre=np.array(sign["centre"], np.float64),
            yaw_rad=sign["yaw_rad"],
            half_length_m=sign["half_length_m"],
            half_width_m=sign["half_width_m"],
        )
        for sign in net.extras["stop_signs"]
    )
    return SceneMap(
        name=town,
        sha256=net.sha256,
        lanes=lanes,
        road_polygons=tuple(roads),
        markings=tuple(_markings(net, lanes)),
        pavements=tuple(pavements),
        crossings=tuple(crossings),
        stop_lines=tuple(_stop_lines(net, lanes)),
        stop_signs=signs,
    )
