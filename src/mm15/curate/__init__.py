"""Choosing what to train on: overlaps with benchmarks taken out."""
