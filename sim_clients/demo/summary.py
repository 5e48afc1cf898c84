"""The demo's last screen: what was driven, how well, how fast."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim_clients.demo.frames import Frame
from sim_clients.drive.coach_arguments import coaching_lines
from sim_clients.drive.loop import Episode


class DriveSummary:
    """Collects figures of a drive.

    Args:
        town: Where it was driven.
    """

    def __init__(self, town: str) -> None:
        self.town = town
        self.policy = ""
        self.files: list[str] = []
        self.steps = 0
        self._return = 0.0
        self._speeds: list[float] = []
        self._latencies_ms: list[tuple[float, float]] = []
        self._share = 0.0
        self._ends: list[str] = []
        self.coaching: dict[str, Any] = {}
        self.coach_note = ""

    def add(self, frame: Frame) -> None:
        """Takes a frame."""
        self.policy = frame.policy or self.policy
        self.steps += 1
        self._return += frame.reward
        self._speeds.append(frame.info["speed_mps"])
        self._share = frame.info["route_share"]
        if frame.inference_ms > 0:
            self._latencies_ms.append((frame.queue_ms, frame.inference_ms))

    def end(self, episode: Episode) -> None:
        """Takes the end of an episode."""
        self._ends.append(episode.failure or str((episode.record or {})["end_reason"]))

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures, JSON-able; times in milliseconds are medians."""
        queue, inference = (
            np.median(self._latencies_ms, axis=0) if self._latencies_ms else (float("nan"),) * 2
        )
        return {
            "town": self.town,
            "policy": self.policy,
            "steps": self.steps,
            "driven_s": round(self.steps * 0.1, 1),
            "episode_return": round(self._return, 2),
            "route_share": round(self._share, 4),
            "speed_mps": round(float(np.mean(self._speeds)), 3) if self._speeds else 0.0,
            "queue_ms": round(float(queue), 3),
            "inference_ms": round(float(inference), 3),
            "ends": self._ends,
            "files": self.files,
            **({"coaching": self.coaching} if self.coaching else {}),
        }

    def _coach_lines(self) -> list[str]:
        lines = coaching_lines(self.coaching) if self.coaching else []
        lines += [self.coach_note] if self.coach_note else []
        return [f"    {'coaches' if index == 0 else '':15} {line}" for index, line in enumerate(lines)]

    def to_text(self) -> str:
        """Returns one screen for people."""
        figures = self.to_dict()
        ends = ", ".join(figures["ends"]) or "stopped on the way"
        return "\n".join(
            (
                "",
                f"  {figures['policy']} drove {figures['driven_s']:.0f} s in {figures['town']}",
                f"    route           {100 * figures['route_share']:.0f} % of the last route ({ends})",
                f"    mean speed      {figures['speed_mps']:.1f} m/s",
                f"    return          {figures['episode_return']:.1f} in {figures['steps']} steps (at most 1 a step)",
                f"    server          queue {figures['queue_ms']:.2f} ms, "
                f"inference {figures['inference_ms']:.2f} ms (medians)",
                *self._coach_lines(),
                *(f"    look at         {path}" for path in figures["files"]),
                "",
            )
        )
