"""A drive on one page: pictures at even distances in time, with captions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.demo.frames import Frame

_COLUMNS = 6
_ROWS = 4
_CAPTION_PX = 46
_GAP_PX = 6
_TITLE_PX = 40
_PAPER = (250, 250, 250)
_INK = (40, 40, 40)


class ContactSheet:
    """Keeps evenly spaced frames of a drive of unknown length, and draws them.

    Whenever the sheet is full twice over, every second frame is dropped and the spacing doubles.
    """

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._spacing = 1
        self._seen = 0

    def add(self, frame: Frame) -> None:
        """Takes a frame."""
        if self._seen % self._spacing == 0:
            self._frames.append(frame)
            if len(self._frames) > 2 * _COLUMNS * _ROWS:
                self._frames = self._frames[::2]
                self._spacing *= 2
        self._seen += 1

    def write(self, path: Path, title: str) -> None:
        """Draws the sheet as a PNG file.

        Raises:
            OSError: The file cannot be written.
        """
        count = min(len(self._frames), _COLUMNS * _ROWS)
        chosen = [self._frames[i] for i in np.linspace(0, len(self._frames) - 1, count).round().astype(int)]
        cells = [_cell(frame) for frame in chosen]
        height, width = cells[0].shape[:2] if cells else (1, 1)
        rows = -(-len(cells) // _COLUMNS)
        sheet = np.full(
            (
                _TITLE_PX + rows * (height + _GAP_PX) + _GAP_PX,
                _COLUMNS * (width + _GAP_PX) + _GAP_PX,
                3,
            ),
            _PAPER,
            np.uint8,
        )
        _write(sheet, title, (_GAP_PX + 2, 27), 0.6)
        for index, cell in enumerate(cells):
            row, column = divmod(index, _COLUMNS)
            top, left = _TITLE_PX + row * (height + _GAP_PX), _GAP_PX + column * (width + _GAP_PX)
            sheet[top : top + height, left : left + width] = cell
        ok, data = cv2.imencode(".png", sheet[..., ::-1])
        if not ok:
            raise OSError(f"cannot encode {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())


def _cell(frame: Frame) -> NDArray[np.uint8]:
    size = frame.picture.shape[0]
    cell = np.full((size + _CAPTION_PX, size, 3), _PAPER, np.uint8)
    cell[:size] = frame.picture
    info = frame.info
    lines = (
        f"{info['time_s']:.1f} s  {info['speed_mps']:.1f} m/s  {100 * info['route_share']:.0f} %",
        f"acc {frame.action[0]:+.2f}  steer {frame.action[1]:+.2f}",
        info["end_reason"] or info["command"].lower().replace("_", " "),
    )
    for index, line in enumerate(lines):
        _write(cell, line, (3, size + 13 + 14 * index), 0.38)
    return cell


def _write(image: NDArray[np.uint8], text: str, origin: tuple[int, int], scale: float) -> None:
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
