"""Folders of commands that were killed go at the next start, and no others."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile

from sim_clients.drive.folder import command_folder, remove_leftovers


def test_only_folders_of_the_dead_are_removed(tmp_path, monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    kept = [f"codriver-{os.getpid()}-abc", f"codriver-{10**12}-abc-d", "codriver-abc", "codriver-1-x"]
    for name in [*kept, f"codriver-{process.pid}-abc"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "stderr.log").write_text("said")
    (tmp_path / f"codriver-{process.pid}-link").symlink_to(tmp_path / "codriver-abc")
    (tmp_path / f"codriver-{process.pid}-file").write_text("")
    locked = tmp_path / f"codriver-{process.pid}-locked"  # of a container that shares the directory
    locked.mkdir()
    kept.append(locked.name)
    descriptor = os.open(locked, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    remove_leftovers(tmp_path)
    os.close(descriptor)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([*kept, f"codriver-{process.pid}-link", f"codriver-{process.pid}-file"])

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with command_folder() as folder:
        assert folder.parent == tmp_path and folder.name.startswith(f"codriver-{os.getpid()}-")
        remove_leftovers(tmp_path)
        assert folder.is_dir()
    assert not folder.exists()
