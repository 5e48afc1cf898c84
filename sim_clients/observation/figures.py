"""Draws the pictures of docs/observation.md: ``python -m sim_clients.observation.figures``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from codriver.driving import MASK_CHANNELS
from sim_clients.observation import Observation, Observer
from sim_clients.observation.layers import HALF
from sim_clients.observation.picture import PALETTE, PALETTE_NAMES
from sim_clients.observation.state import active_sign
from sim_clients.rules.monitor import RuleReport
from sim_clients.scene import LightColour, Scene

Image = NDArray[np.uint8]
_GAP, _CAPTION = 8, 18
_PAPER, _INK = 255, (40, 40, 40)
_ROUTE, _MARKINGS, _VEHICLES, _WALKERS, _STOPS = 1, 2, 6, 10, 14


def main(argv: list[str]) -> int:
    """Drives through a town and writes the figures; returns the exit status."""
    parser = argparse.ArgumentParser(description="Draws the pictures of docs/observation.md.")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder (default %(default)s)")
    parser.add_argument("--town", default="birch", help="SUMO town (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=4)
    arguments = parser.parse_args(argv)
    best: dict[str, tuple[float, Observation]] = {}
    for scene, report, observation in look_around(arguments.town, arguments.episodes, 900):
        for name, interest in _INTERESTS.items():
            value = interest(scene, report, observation)
            if value > best.get(name, (0.0, observation))[0]:
                best[name] = (value, observation)
    arguments.out.mkdir(parents=True, exist_ok=True)
    crossing = best["signalised crossing"][1]
    _write(arguments.out / "observation_masks.png", masks_figure(crossing.masks))
    pictures = [(name, observation.picture) for name, (_, observation) in best.items()]
    _write(arguments.out / "observation_pictures.png", pictures_figure(pictures))
    return 0


def look_around(town: str, episodes: int, steps: int) -> Iterator[tuple[Scene, RuleReport, Observation]]:
    """Lets the expert drive in SUMO and yields every step with its picture."""
    from sim_clients.expert import Expert
    from sim_clients.rules.monitor import RuleMonitor
    from sim_clients.scene import Control
    from sim_clients.simulator import EpisodeTask
    from sim_clients.sumo import SumoSimulator

    simulator = SumoSimulator(town)
    observer, rules, expert = Observer(simulator.map), RuleMonitor(simulator.map), Expert(simulator.map)
    try:
        for seed in range(episodes):
            scene = simulator.reset(EpisodeTask(route_seed=seed, traffic_seed=seed, vehicles=90, walkers=80))
            observer.reset()
            rules.reset(scene)
            expert.reset(scene)
            for _ in range(steps):
                report = rules.update(scene)
                yield scene, report, observer.observe(scene, report, picture=True)
                if report.progress.completed:
                    break
                acceleration, steer = (float(value) for value in expert.act(scene, report))
                scene = simulator.step(Control(max(acceleration, 0.0), steer, max(-acceleration, 0.0)))
    finally:
        simulator.close()


def masks_figure(masks: Image) -> Image:
    """All channels with their names, 5 in a row, every pixel doubled."""
    cells = [_captioned(_enlarged(channel, 2), name) for name, channel in zip(MASK_CHANNELS, masks)]
    return _grid(cells, 5)


def pictures_figure(pictures: list[tuple[str, Image | None]]) -> Image:
    """Pictures with their names, then the palette."""
    cells = [_captioned(_enlarged(picture, 2), name) for name, picture in pictures if picture is not None]
    grid = _grid(cells, 3)
    palette = np.full((6 * 24 + _GAP, grid.shape[1], 3), _PAPER, np.uint8)
    for number, (name, colour) in enumerate(zip(PALETTE_NAMES, PALETTE.tolist())):
        # The 24 tints go in rows of four ages, the rest in a column of its own.
        plain = number < 5 or number == len(PALETTE) - 1
        row, column = (min(number, 5), 0) if plain else ((number - 5) // 4, 1 + (number - 5) % 4)
        x, y = _GAP + column * grid.shape[1] // 5, row * 24
        cv2.rectangle(palette, (x, y), (x + 28, y + 18), colour, -1)
        cv2.rectangle(palette, (x, y), (x + 28, y + 18), _INK, 1)
        _text(palette, name.replace("_", " "), x + 36, y + 14)
    return np.concatenate([grid, palette])


def _crossing(scene: Scene, report: RuleReport, observation: Observation) -> float:
    masks = observation.masks
    moving = (masks[_VEHICLES - 3] != masks[_VEHICLES]).sum()
    colours = len(np.unique(masks[_STOPS])) - 1
    walkers = (masks[_WALKERS] > 0).sum()
    if report.light is None or not moving or not walkers:
        return 0.0
    return float(4 * colours + min(moving / 100, 3) + min(walkers / 25, 3))


def _stop_sign(scene: Scene, report: RuleReport, observation: Observation) -> float:
    if active_sign(report.stop) is None or not 4.0 < report.stop.distance_m < 20.0:
        return 0.0
    return 1.0 + min(float((observation.masks[_VEHICLES] > 0).sum()), 300.0)


def _lanes(scene: Scene, report: RuleReport, observation: Observation) -> float:
    broken = float((observation.masks[_MARKINGS] == HALF).sum())
    moving = float((observation.masks[_VEHICLES - 3] != observation.masks[_VEHICLES]).sum())
    return broken * min(moving, 200.0)


def _curve(scene: Scene, report: RuleReport, observation: Observation) -> float:
    yaws = np.unwrap(scene.route.yaws_rad[report.progress.index :][:30])
    turned = float(np.abs(np.diff(yaws)).sum()) if len(yaws) == 30 else 0.0
    quiet = not (observation.masks[_STOPS] > 0).any()
    return turned * quiet * min(float((observation.masks[_VEHICLES] > 0).sum()), 60.0)


def _walkers(scene: Scene, report: RuleReport, observation: Observation) -> float:
    inside = ~scene.walker_on_pavement
    if not inside.any():
        return 0.0
    near = np.hypot(*(scene.walkers.pose[inside, :2] - (scene.ego.x, scene.ego.y)).T) < 18
    return float(near.sum() * (observation.masks[_WALKERS] > 0).sum())


def _yellow(scene: Scene, report: RuleReport, observation: Observation) -> float:
    if report.light is None or report.light.colour != LightColour.YELLOW:
        return 0.0
    return float(len(np.unique(observation.masks[_STOPS - 3 : _STOPS + 1]))) + scene.ego.speed_mps / 10


_INTERESTS: dict[str, Callable[[Scene, RuleReport, Observation], float]] = {
    "signalised crossing": _crossing,
    "stop sign to obey": _stop_sign,
    "several lanes": _lanes,
    "roundabout or curve": _curve,
    "walkers on the road": _walkers,
    "light turning yellow": _yellow,
}


def _enlarged(image: Image, factor: int) -> Image:
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    return large if large.ndim == 3 else np.repeat(large[..., None], 3, axis=2)


def _captioned(image: Image, caption: str) -> Image:
    strip = np.full((_CAPTION, image.shape[1], 3), _PAPER, np.uint8)
    _text(strip, caption, 2, 13)
    return np.concatenate([strip, image])


def _text(image: Image, text: str, x: int, y: int) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)


def _grid(cells: list[Image], columns: int) -> Image:
    height, width = cells[0].shape[:2]
    rows = -(-len(cells) // columns)
    size = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3)
    grid = np.full(size, _PAPER, np.uint8)
    for number, cell in enumerate(cells):
        y = _GAP + number // columns * (height + _GAP)
        x = _GAP + number % columns * (width + _GAP)
        grid[y : y + height, x : x + width] = cell
    return grid


def _write(path: Path, image: Image) -> None:
    if not cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise OSError(f"could not write {path}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
