"""Records episodes of one environment as shards of a dataset."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codriver.codecs import bit_planes
from codriver.codecs.png import encode as encode_png
from codriver.dataset import EpisodeData, ShardWriter
from codriver.driving import MASK_LEVELS, action_spec, observation_spec
from sim_clients.drive.config import Recording
from sim_clients.drive.rows import target_in_ego_frame
from sim_clients.environment import StepKind, StepResult
from sim_clients.simulator import EpisodeTask
from sim_clients.termination import EndReason

VIOLATION_CUT_STEPS = 300
"""Steps dropped before a violated rule (Found-RL's released data preparation)."""
BLOCKED_CUT_STEPS = 600
"""Steps dropped before the end of an episode that was blocked (the same)."""
_MIN_ROWS = 2
_NO_LABEL = np.full(2, np.nan, np.float32)
_PALETTES = [bytes(levels) for levels in MASK_LEVELS]


def kept_rows(rows: int, end: EndReason) -> int:
    """Returns how many of an episode's rows are worth learning from: those well before a violation.

    Args:
        rows: Rows of the episode.
        end: Why it ended.
    """
    if end is EndReason.ROUTE_LEFT:
        return 0
    if end is EndReason.BLOCKED:
        return max(0, rows - BLOCKED_CUT_STEPS)
    if end.truncated:
        return rows
    return max(0, rows - VIOLATION_CUT_STEPS)


def episode_id(task: EpisodeTask) -> str:
    """Returns the id under which a task's episode is stored."""
    return f"route-{task.route_seed}-traffic-{task.traffic_seed}"


class EpisodeRecorder:
    """Gathers the rows of an episode and stores what is kept of it.

    Args:
        recording: Where and what to store.
        env: Environment; names the worker's shards.
    """

    def __init__(self, recording: Recording, env: int) -> None:
        self._recording = recording
        self._writer = ShardWriter(
            recording.directory,
            observation_spec(picture=recording.pictures),
            action_spec(),
            recording.provenance,
            worker=str(env),
            rows_per_shard=recording.rows_per_shard,
        )
        self._task: EpisodeTask | None = None
        self._rows: list[dict[str, Any]] = []

    def begin(self, task: EpisodeTask) -> None:
        """Begins an episode; an unfinished one is dropped."""
        self._task = task
        self._rows = []

    def add(
        self,
        result: StepResult,
        label: NDArray[np.float32],
        applied: NDArray[np.float32],
        following: StepResult,
        speed_bin_label: NDArray[np.float32] | None = None,
    ) -> None:
        """Adds a transition.

        Args:
            result: The step that was acted on.
            label: (2,) what the expert would do there.
            applied: (2,) action applied there.
            following: The step that followed.
            speed_bin_label: (2,) what the expert would do if it knew the speed only as its bin, where that is stored.
        """
        self._rows.append(self._row(result, label, applied, following.terms.total))
        if self._recording.speed_bin_labels:
            self._rows[-1]["expert_action_speed_bin"] = (
                _NO_LABEL if speed_bin_label is None else speed_bin_label
            )
        if following.kind.last:
            self._rows.append(self._row(following, _NO_LABEL, np.zeros(2, np.float32), 0.0))
            if self._recording.speed_bin_labels:
                self._rows[-1]["expert_action_speed_bin"] = _NO_LABEL

    def _row(
        self, result: StepResult, label: NDArray[np.float32], applied: NDArray[np.float32], reward: float
    ) -> dict[str, Any]:
        observation = result.observation
        progress = result.report.progress
        picture = None
        if self._recording.pictures and observation.picture is not None:
            picture = encode_png(observation.picture)
        return {
            "bev_masks": bit_planes.pack(observation.masks[None], _PALETTES)[0],
            "state": observation.state,
            "expert_action": label,
            "applied_action": applied,
            "reward": reward,
            "step_kind": int(result.kind),
            "command": int(progress.command),
            "forward_speed_mps": result.scene.ego.forward_speed_mps,
            "target_m": target_in_ego_frame(result.scene, progress.index),
            "picture": picture,
        }

    def finish(self, end: EndReason) -> bool:
        """Stores the episode.

        Returns:
            False if too little of it is left after the cut: then nothing is stored.

        Raises:
            DatasetError: The dataset holds an episode of this task already.
        """
        count = kept_rows(len(self._rows), end) if self._recording.cut_violations else len(self._rows)
        cut = len(self._rows) - count
        rows, self._rows = self._rows[:count], []
        if count < _MIN_ROWS or self._task is None:
            return False
        if rows[-1]["step_kind"] == StepKind.MID:
            rows[-1]["step_kind"] = int(StepKind.TRUNCATED)
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "picture"}
        tensors = {name: columns.pop(name) for name in ("bev_masks", "state")}
        self._writer.add_episode(
            EpisodeData(
                id=episode_id(self._task),
                tensors=tensors,
                pictures=[row["picture"] for row in rows] if self._recording.pictures else None,
                info={"task": asdict(self._task), "end_reason": end.value, "cut_rows": cut},
                **columns,
            )
        )
        return True

    def close(self) -> None:
        """Writes what is pending."""
        self._writer.close()
