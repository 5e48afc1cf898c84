"""What a progress bar leaves behind."""

from sim_clients.drive.loop import Episode
from sim_clients.drive.progress import EpisodeProgress
from sim_clients.simulator import EpisodeTask


def test_failures_are_written_without_a_terminal_too(capsys):
    reason = "[UNAVAILABLE] at state: " + "far longer than a line of eighty columns " * 3
    with EpisodeProgress("driving", 2) as progress:
        progress.episode(Episode(0, 0, EpisodeTask(1, 1), {"end_reason": "route_completed"}))
        progress.episode(Episode(0, 1, EpisodeTask(2, 2), None, reason))
    written = capsys.readouterr()
    assert written.out == "" and written.err == f"episode 1 failed: {reason}\n"
