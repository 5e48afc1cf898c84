"""A drive on one page: pictures at even distances in time, with captions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sim_clients.demo.coach_board import Advice, CoachBoard
from sim_clients.demo.frames import Frame

COLUMNS = 6
ROWS = 4
GAP_PX = 6
TITLE_PX = 40
_LINE_PX = 14
_PAPER = (250, 250, 250)
_INK = (40, 40, 40)
_COACH_INK = (20, 90, 170)
_FAINT_INK = (140, 140, 140)
_ACTION_X, _STEER_X, _AGE_X = 41, 101, 164
Image = NDArray[np.uint8]


class ContactSheet:
    """Keeps evenly spaced frames of a drive of unknown length, and draws them.

    Whenever the sheet is full twice over, every second frame is dropped and the spacing doubles.

    Args:
        board: What coaches said. With it, the sheet keeps frames that coaches were asked about. None: nobody was asked.
    """

    def __init__(self, board: CoachBoard | None = None) -> None:
        self._board = board
        self._frames: list[Frame] = []
        self._spacing = 1
        self._seen = 0

    def add(self, frame: Frame) -> None:
        """Takes a frame."""
        if self._board is not None and not frame.marked and not frame.info["end_reason"]:
            return
        if self._seen % self._spacing == 0 or frame.info["end_reason"]:
            self._frames.append(frame)
            if len(self._frames) > 2 * COLUMNS * ROWS:
                self._frames = [*self._frames[:-1:2], self._frames[-1]]
                self._spacing *= 2
        self._seen += 1

    def write(self, path: Path, title: str) -> None:
        """Draws the sheet as a PNG file.

        Raises:
            OSError: The file cannot be written.
        """
        count = min(len(self._frames), COLUMNS * ROWS)
        chosen = [self._frames[i] for i in np.linspace(0, len(self._frames) - 1, count).round().astype(int)]
        cells = [self._cell(frame) for frame in chosen]
        height, width = cells[0].shape[:2] if cells else (1, 1)
        rows = -(-len(cells) // COLUMNS)
        sheet = np.full(
            (
                TITLE_PX + rows * (height + GAP_PX) + GAP_PX,
                COLUMNS * (width + GAP_PX) + GAP_PX,
                3,
            ),
            _PAPER,
            np.uint8,
        )
        _write(sheet, title, (GAP_PX + 2, 27), 0.6)
        if self._board is not None:
            legend = "+14: the coach's answer to this picture came 14 steps (of 0.1 s) later"
            width_px = cv2.getTextSize(legend, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)[0][0]
            _write(sheet, legend, (sheet.shape[1] - GAP_PX - width_px, 26), 0.38, _FAINT_INK)
        for index, cell in enumerate(cells):
            row, column = divmod(index, COLUMNS)
            top, left = TITLE_PX + row * (height + GAP_PX), GAP_PX + column * (width + GAP_PX)
            sheet[top : top + height, left : left + width] = cell
        ok, data = cv2.imencode(".png", sheet[..., ::-1])
        if not ok:
            raise OSError(f"cannot encode {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())

    def _cell(self, frame: Frame) -> Image:
        size = frame.picture.shape[0]
        coaches = () if self._board is None else self._board.coaches
        cell = np.full((size + caption_px(len(coaches)), size, 3), _PAPER, np.uint8)
        cell[:size] = frame.picture
        info = frame.info
        heading = f"{info['time_s']:.1f} s  {info['speed_mps']:.1f} m/s  {100 * info['route_share']:.0f} %"
        _write(cell, heading, (3, size + 13))
        _write(
            cell,
            info["end_reason"] or info["command"].lower().replace("_", " "),
            (3, size + 13 + _LINE_PX),
        )
        y = size + 13 + 2 * _LINE_PX
        _write(cell, "policy", (3, y))
        if info["end_reason"]:
            _write(cell, "the end: no action", (_ACTION_X, y), ink=_FAINT_INK)
        else:
            _write_action(cell, frame.action, y, _INK)
        advice = None if self._board is None else self._board.of(frame)
        for coach, kind in coaches:
            y += _LINE_PX
            _write(cell, coach[:5], (3, y), ink=_COACH_INK)
            _write_advice(cell, advice, coach, kind, y)
        return cell


def caption_px(coaches: int) -> int:
    """Height of a caption that has a line for each coach."""
    return 46 + _LINE_PX * coaches


def _write_advice(cell: Image, advice: Advice | None, coach: str, kind: str, y: int) -> None:
    action = advice.action(coach) if advice is not None and kind == "vlm" else None
    margin = advice.margin(coach) if advice is not None and kind == "clip" else None
    if advice is None:
        _write(cell, "not asked", (_ACTION_X, y), ink=_FAINT_INK)
    elif action is not None:
        _write_action(cell, action, y, _COACH_INK)
    elif margin is not None:
        _write(cell, f"margin {margin:.2f}", (_ACTION_X, y), ink=_COACH_INK)
    else:
        status = advice.status(coach).removeprefix("unavailable: ")
        _write(
            cell, "no action followed" if status.endswith("later") else status, (_ACTION_X, y), ink=_FAINT_INK
        )
    if advice is not None and (action is not None or margin is not None):
        _write(cell, f"+{advice.answers[coach].age_steps}", (_AGE_X, y), ink=_FAINT_INK)


def _write_action(cell: Image, action: NDArray[np.float32], y: int, ink: tuple[int, int, int]) -> None:
    acceleration, steer = (round(float(value), 2) + 0.0 for value in action)  # + 0.0: no "-0.00"
    _write(cell, f"acc {acceleration:+.2f}", (_ACTION_X, y), ink=ink)
    _write(cell, f"steer {steer:+.2f}", (_STEER_X, y), ink=ink)


def _write(
    image: Image, text: str, origin: tuple[int, int], scale: float = 0.36, ink: tuple[int, int, int] = _INK
) -> None:
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
