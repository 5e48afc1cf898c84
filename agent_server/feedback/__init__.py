"""Feedback: marked rows are asked about when their action is chosen, and what coaches say goes back by key.

Everything here belongs to the event loop's thread, and nothing on the way to an action waits for it.
"""
