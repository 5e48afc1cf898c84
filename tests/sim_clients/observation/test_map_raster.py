"""Drawing a map, cutting views out of it, and the cache."""

import stat
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sim_clients.observation.map_raster import BROKEN, MARKING, ROAD, MapRaster, draw, map_raster
from sim_clients.observation.view import View
from sim_clients.scene import LaneMarking
from tests.sim_clients.observation.helpers import MAP
from tests.sim_clients.scenes import line


def some_map(rng):
    """Scattered triangles and lines."""
    polygons = tuple(rng.uniform(-40, 40, 2) + rng.uniform(-15, 15, (3, 2)) for _ in range(12))
    markings = tuple(LaneMarking(rng.uniform(-45, 45, (4, 2)), bool(n % 2)) for n in range(12))
    return replace(MAP, road_polygons=polygons, markings=markings)


def test_warp_is_bilinear_and_non_zero():
    """The spread bits and the nearest pixel give what bilinear weights on the plain mask give."""
    rng = np.random.default_rng(3)
    plain = (rng.random((400, 400)) < 0.05).astype(np.uint8)
    spread = plain.copy()
    spread[:, :-1] |= spread[:, 1:]
    spread[:-1] |= spread[1:]
    raster = MapRaster(spread, 0.0, 80.0)
    out = np.zeros((192, 192), np.uint8)
    for _ in range(10):
        view = View(*rng.uniform(30, 50, 2), rng.uniform(-4, 4))
        raster.warp(view, out)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        expected = cv2.warpAffine(plain * 255, view.map_affine(0.0, 80.0), (192, 192), flags=flags) > 0
        assert expected.any()
        # Weights under 1/64 are lost in the fixed-point arithmetic of the bilinear warp, never the other way round.
        assert (expected & (out == 0)).mean() < 0.005
        assert (~expected & (out > 0)).mean() < 0.02


def test_view_is_placed_by_the_pose():
    raster = draw(MAP)
    out = np.zeros((192, 192), np.uint8)
    for turn in range(4):  # the broken line at y = 5 is left, behind, right and ahead of the ego in turn
        raster.warp(View(0.3, 0.1, -turn * np.pi / 2), out)
        rows, columns = np.nonzero(out & BROKEN)
        u, v = columns.mean(), rows.mean()
        if turn in (0, 2):
            assert u == pytest.approx(95.5 - (4.9 if turn == 0 else -4.9) * 5, abs=1)
        else:
            assert v == pytest.approx(151.5 - (4.9 if turn == 3 else -4.9) * 5, abs=1)


def test_view_beyond_each_edge_is_empty_and_partly_beyond_is_cut():
    raster = draw(MAP)
    out = np.full((192, 192), 7, np.uint8)
    for x, y in ((-900.0, 0.0), (900.0, 0.0), (0.0, -900.0), (0.0, 900.0)):
        raster.warp(View(x, y, 0.7), out)
        assert not out.any()
    raster.warp(View(200.0, 0.0, 0.0), out)
    assert not out[:145].any() and out[156:].all()


def test_seams_between_polygons_are_closed_and_overlaps_do_not_cancel():
    seam = (line((0, 0), (20, 0), (20, 3.5), (0, 3.5)), line((0, 3.7), (20, 3.7), (20, 7), (0, 7)))
    overlap = (line((10, -1), (20, -1), (20, 6), (10, 6)),)
    codes = draw(replace(MAP, road_polygons=seam + overlap, markings=())).codes
    middle = codes[:, codes.shape[1] // 2]
    inside = np.flatnonzero(middle)
    assert (middle[inside[0] : inside[-1] + 1] == ROAD).all()


def test_broken_is_always_a_marking():
    codes = draw(some_map(np.random.default_rng(1))).codes
    assert (codes & BROKEN).any() and (codes & ROAD).any()
    assert ((codes & BROKEN == 0) | (codes & MARKING > 0)).all()


def test_a_map_without_anything_to_draw():
    with pytest.raises(ValueError, match="no road polygons"):
        draw(replace(MAP, road_polygons=(), markings=()))


def test_cache_is_used_and_keyed_by_what_is_drawn(tmp_path):
    first = map_raster(MAP, tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    marked = np.zeros_like(first.codes)
    marked[0, 0] = ROAD
    with file.open("wb") as out:
        np.savez_compressed(out, codes=marked, corner=np.array([first.x_min_m, first.y_max_m]))
    assert map_raster(MAP, tmp_path).codes.sum() == ROAD
    for other in (replace(MAP, sha256="2" * 64), replace(MAP, markings=MAP.markings[:1])):
        assert map_raster(other, tmp_path).codes.sum() > ROAD
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped", "wrong type"])
def test_a_damaged_cache_is_drawn_anew(tmp_path, damage):
    good = map_raster(MAP, tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    data = bytearray(file.read_bytes())
    if damage == "wrong type":
        with file.open("wb") as out:
            np.savez(out, codes=good.codes.astype(np.float32), corner=np.zeros(2))
    else:
        flipped = data.copy()
        flipped[len(data) // 2] ^= 255
        file.write_bytes({"empty": b"", "cut": data[:200], "text": b"hello", "flipped": flipped}[damage])
    again = map_raster(MAP, tmp_path)
    assert (again.codes == good.codes).all()
    assert map_raster(MAP, tmp_path).x_min_m == good.x_min_m


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    blocked.chmod(stat.S_IRUSR)
    assert map_raster(MAP, blocked).codes.any()
