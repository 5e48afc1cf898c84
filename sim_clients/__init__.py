"""From simulators to scenes, and from scenes to observations, rewards, terminations and metrics."""
