"""Batches in the background: a thread draws rows and unpacks masks while the network trains."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agent_server.train.data import Rows


class Batch(NamedTuple):
    """Some rows as tensors: masks (B, C, H, W) uint8, state (B, S), label (B, 2), value (B,), float32."""

    masks: Tensor
    state: Tensor
    label: Tensor
    value: Tensor


def make_batch(rows: Rows, index: NDArray[np.int64], shift_px: int = 0, seed: int = 0) -> Batch:
    """Gathers rows; `shift_px` moves each row's masks by up to so many pixels, the gap filled with 0."""
    masks = rows.unpack(index)
    if shift_px:
        masks = shifted(masks, shift_px, np.random.default_rng([seed, int(index[0]), len(index)]))
    return Batch(
        torch.from_numpy(masks),
        torch.from_numpy(rows.state[index]),
        torch.from_numpy(rows.label[index]),
        torch.from_numpy(rows.value[index]),
    )


def shifted(masks: NDArray[np.uint8], most: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Masks (B, C, H, W), each row moved by a random whole number of pixels in -most..most on both axes."""
    _, _, height, width = masks.shape
    padded = np.pad(masks, ((0, 0), (0, 0), (most, most), (most, most)))
    offsets = rng.integers(0, 2 * most + 1, (len(masks), 2))
    return np.stack(
        [row[:, y : y + height, x : x + width] for row, (y, x) in zip(padded, offsets.tolist(), strict=True)]
    )


def draw_epoch(rows: Rows, count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Row indices of an epoch, drawn with replacement by weight; the same for the same seed and epoch."""
    cumulated = np.cumsum(rows.weight)
    points = np.random.default_rng([seed, epoch]).random(count) * cumulated[-1]
    drawn: NDArray[np.int64] = np.minimum(np.searchsorted(cumulated, points, side="right"), len(rows) - 1)
    return drawn


def batches(
    rows: Rows, order: NDArray[np.int64], size: int, shift_px: int = 0, seed: int = 0
) -> Generator[Batch, None, None]:
    """Yields full batches of `order` one after the other, prepared two ahead by a thread."""
    ready: queue.Queue[Batch | Exception | None] = queue.Queue(maxsize=2)
    stop = threading.Event()

    def put(item: Batch | Exception | None) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def fill() -> None:
        try:
            for start in range(0, len(order) - size + 1, size):
                if stop.is_set():
                    return
                put(make_batch(rows, order[start : start + size], shift_px, seed))
            put(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the consumer raises it
            put(error)

    thread = threading.Thread(target=fill, name="loader", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
