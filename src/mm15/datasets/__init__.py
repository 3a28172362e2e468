"""One file per format: a row on disk becomes a Sample.

A format is a module with ``to_samples(row, context) -> list[Sample]`` and two example rows in its docstring. It reads
no file: pictures stay addresses. A row that cannot be used raises ``SkipSample`` with a reason; nothing is repaired.
"""
