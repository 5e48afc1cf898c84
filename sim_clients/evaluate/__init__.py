"""Evaluation: fixed routes, over the wire, one record an episode, every figure recomputed from the records."""
