"""The demo: server and simulator as processes, the shipped policy drives, and people look."""
