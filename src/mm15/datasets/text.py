"""Plain text for pre-training: FineWeb-Edu, DCLM and anything else with a text column. All of it is trained.

Example rows:
{"text": "The first document.", "id": "a1"}
{"text": "The second one.\\n\\nWith two paragraphs."}
"""

from __future__ import annotations

from typing import Any

from mm15.base.config import Strict
from mm15.base.errors import SkipSample
from mm15.base.types import Sample, document
from mm15.datasets._context import RowContext


class Options(Strict):
    """Which columns a recipe names."""

    text: str = "text"
    """The column that holds the text."""
    id: str = "id"
    """The column that names the row; it becomes ``meta["id"]``. It may be missing."""


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One document per row; its other columns become ``meta``.

    Raises:
        SkipSample: no such column, or nothing in it.
    """
    options: Options = context.options or Options()
    if options.text not in row:
        raise SkipSample(f"no column '{options.text}'; there are: {', '.join(row) or 'none'}")
    value = row[options.text]
    text = value if value is None else context.text(value)
    if not text or not text.strip():
        raise SkipSample(f"'{options.text}' must hold some text, found {type(value).__name__}")
    named = {"id": row[options.id]} if options.id in row else {}
    return [context.sample({**row, **named}, [document(text)], {options.text, options.id} - set(named))]
