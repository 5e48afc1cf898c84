"""The model's side: batcher, forward passes and the engines that run them, on a thread or in a process of its own.

What crosses the boundary is bytes and plain numbers.
"""
