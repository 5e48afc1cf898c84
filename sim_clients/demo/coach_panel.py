"""What coaches say, in the live view: beside the policy's action, at the time of its own step, and with its age now."""

from __future__ import annotations

from typing import Any

import rerun as rr
import rerun.blueprint as rrb

from sim_clients.demo.coach_board import CoachBoard
from sim_clients.demo.frames import Frame
from sim_clients.drive.coach_arguments import reason_words
from sim_clients.drive.coaching import Coaching

_TEXT_STEPS = 5
"""The text is renewed on every 5th step."""
_COLOURS = {"acceleration": (90, 160, 255), "steer": (255, 170, 60)}


class CoachPanel:
    """Logs feedback of environment 0.

    Args:
        board: What coaches said.
        coaching: The session's feedback, for availability.
    """

    def __init__(self, board: CoachBoard, coaching: Coaching) -> None:
        self._board, self._coaching = board, coaching

    def views(self) -> list[Any]:
        """Returns the parts of the blueprint that show it."""
        return [
            rrb.TextDocumentView(origin="coach/now", name="Coach"),
            rrb.TimeSeriesView(origin="coach/margin", name="CLIP margin of the applied action"),
            rrb.TimeSeriesView(origin="coach/age", name="Age of what the coach said last (steps)"),
        ]

    def styles(self, recording: rr.RecordingStream) -> None:
        """Draws what the vision-language coach says as points, not as a line: most steps have none."""
        for item, colour in _COLOURS.items():
            line = rr.SeriesLines(colors=[colour], names=f"policy {item}")
            rr.log(f"action/{item}", line, static=True, recording=recording)
        for name, kind in self._board.coaches:
            if kind == "vlm":
                for item, colour in _COLOURS.items():
                    style = rr.SeriesPoints(
                        colors=[colour], markers="diamond", names=f"{name} {item}", marker_sizes=3.0
                    )
                    rr.log(f"action/{name}_{item}", style, static=True, recording=recording)
            else:
                style = rr.SeriesPoints(colors=[(80, 200, 120)], names=name, marker_sizes=3.0)
                rr.log(f"coach/margin/{name}", style, static=True, recording=recording)

    def log(self, frame: Frame, recording: rr.RecordingStream) -> None:
        """Logs what has become known by this frame."""
        for advice, coach in self._board.fresh():
            if advice.key[0] != 0:
                continue
            rr.set_time("drive", duration=advice.time_s, recording=recording)
            rr.set_time("step", sequence=advice.key[2], recording=recording)
            action, margin = advice.action(coach), advice.margin(coach)
            if action is not None:
                for item, value in zip(_COLOURS, action.tolist(), strict=True):
                    rr.log(f"action/{coach}_{item}", rr.Scalars(value), recording=recording)
            if margin is not None:
                rr.log(f"coach/margin/{coach}", rr.Scalars(margin), recording=recording)
        rr.set_time("drive", duration=frame.info["time_s"], recording=recording)
        rr.set_time("step", sequence=frame.step, recording=recording)
        for coach, _ in self._board.coaches:
            latest = self._board.latest(0, coach)
            if latest is not None:
                rr.log(f"coach/age/{coach}", rr.Scalars(self._board.age(latest)), recording=recording)
        if frame.step % _TEXT_STEPS == 0:
            text = rr.TextDocument(panel_text(self._board, self._coaching, frame), media_type="text/markdown")
            rr.log("coach/now", text, recording=recording)


def panel_text(board: CoachBoard, coaching: Coaching, frame: Frame) -> str:
    """Returns the coach's state at a frame, as Markdown."""
    rows = [
        "| | acceleration | steer | about |",
        "|---|---|---|---|",
        f"| **policy** | {_signed(frame.action[0])} | {_signed(frame.action[1])} | now |",
    ]
    for coach, kind in board.coaches:
        latest = board.latest(frame.env, coach)
        if coach in coaching.refused:
            rows.append(f"| **{coach}** | | | not available at the server |")
        elif latest is None:
            rows.append(f"| **{coach}** | | | {_nothing(coaching, coach)} |")
        else:
            about = f"{board.age(latest)} steps ago"
            action, margin = latest.action(coach), latest.margin(coach)
            if action is not None:
                rows.append(f"| **{coach}** | {_signed(action[0])} | {_signed(action[1])} | {about} |")
            elif kind == "clip":
                said = "" if margin is None else f"margin {margin:.2f}"
                rows.append(f"| **{coach}** | {said} | | {about} |")
    rows.append("")
    for coach, figures in coaching.ledger.figures().items():
        share = figures["availability"]
        known = "no answer yet" if share is None else f"availability {100 * share:.0f} %"
        rows.append(
            f"- {coach}: {known}, {figures['values']} of {figures['asked']} answered, {figures['pending']} open"
        )
    return "\n".join(rows)


def _signed(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:+.2f}"  # + 0.0: no "-0.00"


def _nothing(coaching: Coaching, coach: str) -> str:
    account = coaching.ledger.accounts.get(coach)
    if account is None or not account.unavailable:
        return "no answer yet"
    reason, _ = account.unavailable.most_common(1)[0]
    return f"no answer yet ({reason_words(reason)})"
