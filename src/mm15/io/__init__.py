"""Bytes in and out: media by address, atomic writes, JSON lines by row."""
