"""A scripted world for the expert: its car obeys the vehicle model, everything else moves as a script says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from codriver.driving import to_control
from sim_clients.rules.monitor import RuleMonitor, RuleReport
from sim_clients.scene import STEP_S, Actors, Control, Ego, Floats, Scene
from sim_clients.vehicle import VehicleModel, VehicleState

Script = Callable[[float], dict[str, Any]]


class Driver(Protocol):
    def reset(self, scene: Scene) -> None: ...

    def act(self, scene: Scene, report: RuleReport) -> NDArray[np.float32]: ...


class Step(NamedTuple):
    scene: Scene
    report: RuleReport
    action: NDArray[np.float32]


def moving(
    *rows: tuple[float, float, float, float], half: tuple[float, float] = (2.3, 0.95), first_id: int = 1
) -> Actors:
    """Actors at (x, y, yaw, speed)."""
    table = np.array(rows, np.float64).reshape(-1, 4)
    velocity = table[:, 3:] * np.stack([np.cos(table[:, 2]), np.sin(table[:, 2])], axis=1)
    ids = np.arange(first_id, first_id + len(table), dtype=np.int64)
    return Actors(ids, table[:, :3].copy(), np.tile(np.array(half), (len(table), 1)), velocity)


def drive(driver: Driver, start: Scene, seconds: float, script: Script | None = None) -> list[Step]:
    """Lets a driver drive from a scene; ``script(time)`` gives the scene's fields that change."""
    model = VehicleModel()
    first = start.ego
    state = VehicleState(first.x, first.y, first.yaw, float(first.velocity[0]), float(first.velocity[1]))
    rules = RuleMonitor(start.map)
    scene = replace(start, **(script(0.0) if script else {}))
    driver.reset(scene)
    rules.reset(scene)
    steps = []
    for index in range(round(seconds / STEP_S)):
        report = rules.update(scene)
        action = driver.act(scene, report)
        steps.append(Step(scene, report, action))
        control = Control(*(float(value) for value in to_control(action)))
        state = model.step(state, control, STEP_S)
        time = (index + 1) * STEP_S
        scene = replace(
            scene, time_s=time, ego=_ego(state, model, control), **(script(time) if script else {})
        )
    return steps


def _ego(state: VehicleState, model: VehicleModel, control: Control) -> Ego:
    return Ego(
        state.x,
        state.y,
        state.yaw,
        np.array([state.vx, state.vy]),
        np.array([state.ax, state.ay]),
        model.half_length_m,
        model.half_width_m,
        control,
    )


def column(steps: list[Step], pick: Callable[[Step], float]) -> Floats:
    return np.array([pick(step) for step in steps])
