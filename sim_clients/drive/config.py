"""What a worker process is told when it starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from sim_clients.drive.feedback_rule import MarkingRule

Driver = Literal["server", "expert", "blind"]


@dataclass(frozen=True)
class Perturbation:
    """Disturbances of the applied action, so that recovery is in recorded data.

    Attributes:
        steer: Largest steering offset; 0 switches it off.
        speed: Largest acceleration offset; 0 switches it off.
        mean_gap_s: Mean time between disturbances.
        duration_s: Mean length of one.
        stall_gap_s: Mean time between stalls: the car brakes to a standstill for no reason, and stays for a moment. 0
            switches them off.
    """

    steer: float = 0.0
    speed: float = 0.0
    mean_gap_s: float = 6.0
    duration_s: float = 0.8
    stall_gap_s: float = 0.0


@dataclass(frozen=True)
class Recording:
    """What a worker writes to disk.

    Attributes:
        directory: Dataset directory; each worker writes shards of its own into it.
        pictures: True stores the 192x192 picture of every row.
        cut_violations: True cuts what led to a violation, as Found-RL's data does; False keeps it
            (the mistakes of a learner are what its expert is asked about).
        speed_bin_labels: True also stores what the expert would do if it knew the speed only as its bin.
        provenance: JSON-able facts for the manifest.
        rows_per_shard: A shard is written, and its episodes are safe, when it has at least this many rows.
    """

    directory: str
    pictures: bool = True
    cut_violations: bool = True
    speed_bin_labels: bool = False
    provenance: dict[str, object] = field(default_factory=dict)
    rows_per_shard: int = 4096


@dataclass(frozen=True)
class WorkerConfig:
    """A worker's environment.

    Attributes:
        env: Index of the environment.
        simulator: Name in the entry point group ``codriver.simulators``.
        town: Town to load.
        mode: Which terminations hold: "train" or "evaluate".
        driver: Who chooses actions: the agent server, the scene expert, or the route follower that is blind
            to traffic and lights.
        picture: Renders the 192x192 picture and sends it with each row.
        marking: Which rows want feedback, by the rule that the server granted. None: no session with coaches.
        hidden: Groups that are blanked out of the observation: "traffic" (vehicles, walkers), "lights"
            (stop lines, light and stop-sign items of the state).
        max_steps: Cuts an episode after this many steps.
        perturbation: Disturbances of the applied action.
        expert_share: Share of steps, in stretches of seconds, that the expert drives although ``driver`` is the server.
        recording: What to write. None: nothing.
        seed: Seed of the worker's own randomness (disturbances, who drives).
    """

    env: int
    simulator: str
    town: str
    mode: Literal["train", "evaluate"] = "evaluate"
    driver: Driver = "server"
    picture: bool = False
    marking: MarkingRule | None = None
    hidden: tuple[str, ...] = ()
    max_steps: int | None = None
    perturbation: Perturbation = Perturbation()
    expert_share: float = 0.0
    recording: Recording | None = None
    seed: int = 0

    def to_json(self) -> str:
        """Returns the configuration as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerConfig:
        """Reads what :meth:`to_json` wrote."""
        values = json.loads(text)
        values["hidden"] = tuple(values["hidden"])
        values["perturbation"] = Perturbation(**values["perturbation"])
        if values["marking"] is not None:
            values["marking"] = MarkingRule(**values["marking"])
        if values["recording"] is not None:
            values["recording"] = Recording(**values["recording"])
        return cls(**values)
