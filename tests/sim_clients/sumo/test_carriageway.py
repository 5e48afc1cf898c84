"""Which pedestrians are on the road."""

import cv2
import numpy as np
import pytest

from sim_clients.sumo.carriageway import Carriageway
from sim_clients.sumo.scene_map import read_map


@pytest.mark.parametrize("town", ["acorn", "birch"])
def test_it_agrees_with_the_polygons(town):
    scene_map = read_map(town)
    carriageway = Carriageway(scene_map)
    polygons = [polygon.astype(np.float32) for polygon in scene_map.road_polygons]
    corners = np.vstack(scene_map.pavements)
    places = np.random.default_rng(0).choice(corners, 300) + np.random.default_rng(1).normal(0, 3, (300, 2))
    found = []
    for x, y in places.tolist():
        depth = max(cv2.pointPolygonTest(polygon, (x, y), True) for polygon in polygons)
        if abs(depth) > 0.2:
            assert carriageway.covers(x, y) == (depth > 0), (x, y, depth)
            found.append(depth > 0)
    assert 30 < sum(found) < len(found) - 30
