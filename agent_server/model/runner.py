"""The ``run`` of the batcher: bytes of many messages in, one forward pass, one serialised answer a message."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agent_server.model.batcher import Part
from agent_server.model.jobs import ActJob, PolicyKey, Reply
from agent_server.policies import Policy, PolicyFailure, PolicyOutput, sample_actions
from codriver.codecs.column import decode_rows
from codriver.errors import CodriverError, NotFiniteError
from codriver.v1 import action_pb2, agent_service_pb2, tensor_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OK, _ERROR = action_pb2.ACTION_STATUS_OK, action_pb2.ACTION_STATUS_ERROR
_FAILED = action_pb2.FRAME_ERROR_REASON_POLICY_FAILED


@dataclass(slots=True)
class _Answer:
    """Answers for the rows of a part."""

    action: list[float]
    value: list[float] | None
    faults: dict[int, action_pb2.FrameError]  # by row of the job


class Runner:
    """Runs passes; the ``run`` of a :class:`agent_server.model.batcher.Batcher`."""

    def __init__(
        self, models: Mapping[int, Policy], threads: int | None = None, cores: Iterable[int] = ()
    ) -> None:
        """A runner.

        Args:
            models: Loaded policies by handle; may change between passes.
            threads: Threads of torch; None: leave them as they are.
            cores: Cores that the thread which runs the passes keeps to. Empty: any.
        """
        self._models, self._threads, self._cores = models, threads, set(cores)
        self._settled = False

    def __call__(self, parts: list[Part[ActJob]]) -> list[Reply | None]:
        """Decodes all rows in bulk, computes their actions, and serialises the answers of jobs that are complete.

        A row that does not decode, or on which the policy fails, is answered with its own ``FrameError``; other rows
        do not notice.
        """
        if not self._settled:
            self._settle()
        begin = time.monotonic()
        for part in parts:
            part.job.started = part.job.started or begin
        policy, key = self._models[parts[0].job.model], parts[0].job.policy
        total = sum(part.stop - part.start for part in parts)
        tensors, faults = _decode(policy, parts, total)
        start = time.monotonic()
        action, value = _forward(policy, key, tensors, total, faults)
        inference_us = int((time.monotonic() - start) * 1e6)
        _explore(policy, parts, action)
        if faults:
            bad = list(faults)
            action[bad] = 0
            if value is not None:
                value[bad] = 0
        return _scatter(parts, action, value, faults, start, inference_us, total)

    def _settle(self) -> None:
        """Settles the calling thread: both settings are its own."""
        if self._threads is not None:
            import torch

            torch.set_num_threads(self._threads)
        if self._cores:
            os.sched_setaffinity(0, self._cores)
        self._settled = True


def _decode(
    policy: Policy, parts: list[Part[ActJob]], total: int
) -> tuple[dict[str, NDArray[Any]], dict[int, action_pb2.FrameError]]:
    """Tensors of all rows, one copy and one decode each, and the rows (of the pass) that are at fault."""
    tensors: dict[str, NDArray[Any]] = {}
    faults: dict[int, action_pb2.FrameError] = {}
    required = [spec for spec in policy.card.observation_spec.tensors if not spec.optional]
    for index, spec in enumerate(required):
        columns = [part.job.columns[index].cut(part.start, part.stop, part.job.rows) for part in parts]
        joined = tensor_pb2.TensorColumn(data=b"".join([column.data for column in columns]))
        for column in columns:
            if column.sizes is not None:
                joined.row_sizes_bytes.extend(column.sizes)
        decoded = decode_rows(spec, joined, total)
        values = decoded.values
        tensors[spec.name] = values if values.flags.writeable else values.copy()  # torch wants its own
        for row, error in decoded.errors.items():
            faults.setdefault(row, _fault(error))
    return tensors, faults


def _fault(error: CodriverError) -> action_pb2.FrameError:
    not_finite = isinstance(error, NotFiniteError)
    reason = (
        action_pb2.FRAME_ERROR_REASON_NOT_FINITE
        if not_finite
        else action_pb2.FRAME_ERROR_REASON_MALFORMED_TENSOR
    )
    return action_pb2.FrameError(reason=reason, field=error.field, detail=str(error))


def _forward(
    policy: Policy,
    key: PolicyKey,
    tensors: dict[str, NDArray[Any]],
    total: int,
    faults: dict[int, action_pb2.FrameError],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Actions (B, A) and values (B,), to be kept; adds the rows on which the policy fails to ``faults``."""
    try:
        output = policy.forward(tensors)
    except PolicyFailure as error:
        if total > 1 and len(error.rows) == total:
            return _one_by_one(policy, key, tensors, total, faults)
        output = error.output
        for row in error.rows.tolist():
            faults.setdefault(row, _failed(key, str(error)))
    except Exception as error:  # noqa: BLE001 - whatever it raised, find the rows that it cannot answer
        if total > 1:
            return _one_by_one(policy, key, tensors, total, faults)
        faults.setdefault(0, _failed(key, f"{type(error).__name__}: {error}"))
        output = _blank(policy, 1)
    action, value = output
    if action.shape != (total, len(policy.card.action_spec.names)) or (
        value is not None and value.shape != (total,)
    ):
        why = (
            f"it answered shapes {action.shape} and {None if value is None else value.shape} for {total} rows"
        )
        for row in range(total):
            faults.setdefault(row, _failed(key, why))
        action, value = _blank(policy, total)
    return np.array(action, np.float32), None if value is None else np.array(value, np.float32)


def _one_by_one(
    policy: Policy,
    key: PolicyKey,
    tensors: dict[str, NDArray[Any]],
    total: int,
    faults: dict[int, action_pb2.FrameError],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Each row alone, so that one which breaks the policy does not take the others along."""
    action, value = _blank(policy, total)
    for row in range(total):
        own: dict[int, action_pb2.FrameError] = {}
        one = {name: values[row : row + 1] for name, values in tensors.items()}
        row_action, row_value = _forward(policy, key, one, 1, own)
        action[row] = row_action[0]
        if value is not None and row_value is not None:
            value[row] = row_value[0]
        if own:
            faults.setdefault(row, own[0])
    return action, value


def _blank(policy: Policy, total: int) -> PolicyOutput:
    value = np.zeros(total, np.float32) if policy.card.has_value else None
    return PolicyOutput(np.zeros((total, len(policy.card.action_spec.names)), np.float32), value)


def _failed(key: PolicyKey, why: str) -> action_pb2.FrameError:
    return action_pb2.FrameError(reason=_FAILED, detail=f"policy {key} failed on this row: {why}"[:500])


def _explore(policy: Policy, parts: list[Part[ActJob]], action: NDArray[np.float32]) -> None:
    """Samples the rows that want it, in place."""
    std, spec, row = policy.card.exploration_std, policy.card.action_spec, 0
    if std is None or all(part.job.seed is None for part in parts):
        return
    low, high = np.array(spec.low, np.float32), np.array(spec.high, np.float32)
    for part in parts:
        job, end = part.job, row + part.stop - part.start
        if job.seed is not None:
            keys = np.array([job.env, job.episode, job.step], np.uint64).T[part.start : part.stop]
            wanted = np.array(job.sampled[part.start : part.stop], bool)[:, None]
            samples = sample_actions(action[row:end], np.array(std, np.float32), low, high, job.seed, keys)
            action[row:end] = np.where(wanted, samples, action[row:end])
        row = end


def _scatter(
    parts: list[Part[ActJob]],
    action: NDArray[np.float32],
    value: NDArray[np.float32] | None,
    faults: dict[int, action_pb2.FrameError],
    start: float,
    inference_us: int,
    total: int,
) -> list[Reply | None]:
    dims = action.shape[1]
    actions: list[float] = action.ravel().tolist()
    values: list[float] | None = None if value is None else value.tolist()
    replies: list[Reply | None] = []
    row = 0
    for part in parts:
        job, rows = part.job, part.stop - part.start
        answer = _Answer(
            actions[row * dims : (row + rows) * dims],
            None if values is None else values[row : row + rows],
            {part.start + r - row: faults[r] for r in range(row, row + rows) if r in faults}
            if faults
            else {},
        )
        row += rows
        if not part.last:
            job.done.append(answer)
            replies.append(None)
            continue
        for earlier in reversed(job.done):
            answer = _Answer(
                earlier.action + answer.action,
                None if earlier.value is None or answer.value is None else earlier.value + answer.value,
                {**earlier.faults, **answer.faults},
            )
        replies.append(_serialise(job, answer, int((start - job.received) * 1e6), inference_us, total))
    return replies


def _serialise(job: ActJob, answer: _Answer, queue_us: int, inference_us: int, total: int) -> Reply:
    response = agent_service_pb2.DriveResponse()
    batch = response.actions
    batch.env.extend(job.env)
    batch.episode.extend(job.episode)
    batch.step.extend(job.step)
    batch.action.extend(answer.action)
    status = [_OK] * job.rows
    for row, fault in sorted(answer.faults.items()):
        status[row] = _ERROR
        batch.errors.add().CopyFrom(fault)
        batch.errors[-1].row = row
    batch.status.extend(status)
    if answer.value is not None:
        batch.value.extend(answer.value)
    if len(answer.faults) < job.rows:
        batch.policy.policy_id, batch.policy.version = job.policy
    batch.queue_us, batch.inference_us, batch.forward_rows = max(0, queue_us), inference_us, total
    return Reply(response.SerializeToString(), len(answer.faults))
