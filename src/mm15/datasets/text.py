"""Plain text for pre-training: FineWeb-Edu, DCLM and anything else with a ``text`` field. All of it is trained.

Example rows:
{"text": "The first document.", "id": "a1"}
{"text": "The second one.\\n\\nWith two paragraphs."}
"""

from __future__ import annotations

from typing import Any

from mm15.base.errors import SkipSample
from mm15.base.types import Sample, document
from mm15.datasets._context import RowContext

USED = {"text"}


def to_samples(row: dict[str, Any], context: RowContext) -> list[Sample]:
    """One document per row.

    Raises:
        SkipSample: no ``text``, or nothing in it.
    """
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise SkipSample(f"'text' must hold some text, found {type(text).__name__}")
    return [context.sample(row, [document(text)], USED)]
