"""Lists of right answers, whatever the release writes them as."""

from __future__ import annotations

import ast
from typing import Any

from mm15.base.errors import SkipSample


def answer_list(value: Any, field: str = "answers") -> list[str]:
    """The right answers in a cell: a list of texts or of ``{"answer": ...}``, one text, or VLMEvalKit's Python list.

    Raises:
        SkipSample: none of these, or no answer.
    """
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise SkipSample(f"'{field}' is not a list: {error}") from error
    listed = value if isinstance(value, list) else [value]
    answers = [entry.get("answer") if isinstance(entry, dict) else entry for entry in listed]
    if not answers or not all(isinstance(answer, str | int | float) for answer in answers):
        raise SkipSample(f"'{field}' must hold right answers, found {str(value)[:80]!r}")
    return [str(answer) for answer in answers]
