"""Sessions: who drives which environments, which key comes next, and what was answered.

Everything here belongs to the event loop's thread and does no arithmetic on tensors.
"""
