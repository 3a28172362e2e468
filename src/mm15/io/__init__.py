"""Bytes in and out: media by address, atomic writes, rows by number from every kind of data file."""
