"""Pixels in, tiles out: pure functions on pictures."""
