"""A progress bar for episodes, on standard error, so that standard output stays for results."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from sim_clients.drive.loop import Episode, Step


class EpisodeProgress:
    """Shows how many episodes are done, how fast, and how the last one ended.

    Without a terminal only failures are written, a line each.

    Args:
        title: What is being done.
        total: How many episodes (or steps, with ``count_steps``). None: not known.
        count_steps: True counts steps instead of episodes.
    """

    def __init__(self, title: str, total: int | None, *, count_steps: bool = False) -> None:
        self._count_steps = count_steps
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, note="")
        self._steps = 0

    def __enter__(self) -> EpisodeProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, step: Step) -> None:
        """Counts a row."""
        self._steps += 1
        if self._count_steps:
            self._progress.advance(self._task)
        elif self._steps % 50 == 0:
            self._progress.update(self._task, note=f"{self._steps} steps")

    def say(self, line: str) -> None:
        """Writes a line that stays on the screen, above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def episode(self, episode: Episode) -> None:
        """Counts an episode; why one failed stays on the screen."""
        if episode.failure:
            line = f"episode {episode.position} failed: {episode.failure}"
            self.say(line)
        ended = episode.failure or str(episode.record["end_reason"] if episode.record else "failed")
        self._progress.update(
            self._task, advance=0 if self._count_steps else 1, note=f"{self._steps} steps, last: {ended}"
        )
