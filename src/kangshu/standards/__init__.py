"""Bytes to typed values and back, one module per standard; pure, and each module is its own interface."""
