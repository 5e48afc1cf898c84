"""Tensors to bytes and back, losslessly: one module for each encoding, and ``column`` over all of them."""
