"""Drives environments in worker processes: one simulator a process, all rows of a step in one message."""
