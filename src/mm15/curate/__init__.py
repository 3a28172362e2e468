"""Choosing and rewriting data with what we have trained, or against what we measure."""
