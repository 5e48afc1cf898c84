"""Messages between the parent and its workers: bytes and JSON, no pickle.

Parent to worker: ``T`` + task JSON (begin an episode), ``A`` + two float32 (apply this action), ``E`` (let the
worker's own driver act), ``Q`` (quit). Worker to parent: ``R`` + row, ``X`` + one line of text (the worker gives up).
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codriver.v1 import observation_pb2
from sim_clients.simulator import EpisodeTask

_ROW_HEADER = struct.Struct("<cI")


def encode_task(task: EpisodeTask, episode: int) -> bytes:
    """Encodes the order to begin an episode."""
    return b"T" + json.dumps({"task": asdict(task), "episode": episode}).encode()


def decode_task(message: bytes) -> tuple[EpisodeTask, int]:
    """Decodes :func:`encode_task`."""
    values = json.loads(message[1:])
    return EpisodeTask(**values["task"]), int(values["episode"])


def encode_action(action: NDArray[np.float32] | None) -> bytes:
    """Encodes an action of shape (2,), or None for the worker's own driver."""
    return b"E" if action is None else b"A" + np.asarray(action, "<f4").tobytes()


def decode_action(message: bytes) -> NDArray[np.float32] | None:
    """Decodes :func:`encode_action`."""
    return None if message[:1] == b"E" else np.frombuffer(message, "<f4", count=2, offset=1)


@dataclass(frozen=True)
class Row:
    """One environment's step, as the worker sends it.

    Attributes:
        batch: An ``ObservationBatch`` of one row.
        info: JSON-able facts for people and logs: reward terms, speed, end reason; on the last step the
            episode's record, and where it is recorded, whether all of it was cut away.
    """

    batch: observation_pb2.ObservationBatch
    info: dict[str, Any]

    @property
    def last(self) -> bool:
        """True for the final observation of an episode."""
        kind = self.batch.step_kind[0]
        return kind in (observation_pb2.STEP_KIND_TERMINATED, observation_pb2.STEP_KIND_TRUNCATED)


def encode_row(row: Row) -> bytes:
    """Encodes a row."""
    batch = row.batch.SerializeToString()
    return _ROW_HEADER.pack(b"R", len(batch)) + batch + json.dumps(row.info).encode()


def decode_row(message: bytes) -> Row:
    """Decodes :func:`encode_row`."""
    _, size = _ROW_HEADER.unpack_from(message)
    start = _ROW_HEADER.size
    batch = observation_pb2.ObservationBatch.FromString(message[start : start + size])
    return Row(batch, json.loads(message[start + size :]))


def join_rows(rows: list[Row]) -> observation_pb2.ObservationBatch:
    """Joins rows of several environments into one batch, columns end to end.

    Args:
        rows: One or more, all of the same spec.
    """
    joined = observation_pb2.ObservationBatch()
    for row in rows:
        batch = row.batch
        joined.env.extend(batch.env)
        joined.episode.extend(batch.episode)
        joined.step.extend(batch.step)
        joined.step_kind.extend(batch.step_kind)
        joined.reward.extend(batch.reward)
        joined.applied_action.extend(batch.applied_action)
        joined.wants_feedback.extend(batch.wants_feedback)
        joined.feedback_context.extend(batch.feedback_context)
        joined.observed_at_us.extend(batch.observed_at_us)
        joined.sampling_mode.extend(batch.sampling_mode)
    for position in range(len(rows[0].batch.tensors)):
        column = joined.tensors.add()
        parts = [row.batch.tensors[position] for row in rows]
        column.data = b"".join(part.data for part in parts)
        for index, part in enumerate(parts):
            column.row_sizes_bytes.extend(part.row_sizes_bytes)
            if part.rows:
                column.rows.append(index)
    return joined
