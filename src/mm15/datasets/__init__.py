"""One file per format: a row on disk becomes samples.

A format is a module with ``to_samples(row, context) -> list[Sample]`` and two example rows in its docstring. Pictures
stay addresses; what a format must read to understand a row (a text, an annotation, a picture's header) it reads through
its context. A row that cannot be used raises ``SkipSample`` with a reason; nothing is repaired. A format may also have

- ``class Options(Strict)``: what a recipe may set under ``options:``; an instance is ``context.options``;
- ``MANY = True``: a row makes several samples, numbered by ``context.sample(..., number=k)``;
- ``open_rows(path, options) -> Rows``: where its rows are not what ``io.rows.open_rows`` finds in the files.
"""
