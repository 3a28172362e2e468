"""Answers from tables: denotations (WikiTableQuestions) and statements that hold or not (TabFact)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from mm15.evals.scoring.text import listed


def wtq(prediction: str, references: str | Sequence[str]) -> float:
    """Denotation accuracy of WikiTableQuestions (arXiv 1508.00305): 1 when both are the same set of values.

    ``references`` is *one* answer: the list of its values, or the values joined by "|". The prediction's values are
    joined by "|" or "||"; in both ``\\n``, ``\\p`` and ``\\\\`` stand for a line break, a bar and a backslash. A value
    is a number, a date (2004-xx-31) or a string; strings are compared without accents, citations, a last bracket, outer
    quotes, a last full stop, and case. Kept quirk: a number within 1e-6 of a whole one is cut, not rounded. Reference
    code: the task's ``evaluator.py``, copied in VLMEvalKit ``tablevqabench.py``.
    """
    if isinstance(references, str):
        references = [_unescape(part) for part in references.split("|")]
    wanted = _distinct(listed(references))
    found = _distinct([_unescape(part) for part in prediction.replace("||", "|").split("|")])
    return float(len(wanted) == len(found) and all(any(_match(a, b) for b in found) for a in wanted))


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    number: float | None = None
    date: tuple[int, int, int] | None = None

    @property
    def key(self) -> object:
        return self.date or (self.text if self.number is None else self.number)


def _distinct(texts: Sequence[str]) -> list[_Value]:
    return list({(type(value.key), value.key): value for value in reversed([_value(text) for text in texts])}.values())


def _match(a: _Value, b: _Value) -> bool:
    if a.text == b.text:
        return True
    if a.number is not None and b.number is not None:
        return abs(a.number - b.number) < 1e-6
    return a.date is not None and a.date == b.date


def _value(text: str) -> _Value:
    plain = _plain(text)
    number = _number(text)
    if number is None:
        date = _date(text)
        if date is None:
            return _Value(plain)
        if date[1:] != (-1, -1):
            return _Value(plain, date=date)
        number = date[0]
    whole = abs(number - round(number)) < 1e-6
    # An empty normal form stands for the number itself, as published; "5" and 5.0 are one value.
    amount = float(int(number)) if whole else float(number)
    return _Value(plain if text else str(amount), number=amount)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> tuple[int, int, int] | None:
    parts = text.lower().split("-")
    if len(parts) != 3:
        return None
    try:
        year = -1 if parts[0] in ("xx", "xxxx") else int(parts[0])
        month, day = (-1 if part == "xx" else int(part) for part in parts[1:])
    except ValueError:
        return None
    real = (month == -1 or 1 <= month <= 12) and (day == -1 or 1 <= day <= 31) and (year, month, day) != (-1, -1, -1)
    return (year, month, day) if real else None


def _plain(text: str) -> str:
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
    text = re.sub("[‘’´`]", "'", text)
    text = re.sub("[“”]", '"', text)
    text = re.sub("[‐‑‒–—−]", "-", text)
    before = None
    while text != before:
        before = text
        text = re.sub(r"((?<!^)\[[^\]]*\]|\[\d+\]|[•♦†‡*#+])*$", "", text.strip())  # citations
        text = re.sub(r"(?<!^)( \([^)]*\))*$", "", text.strip())  # details in brackets
        text = re.sub(r'^"([^"]*)"$', r"\1", text.strip())
    return re.sub(r"\s+", " ", text.removesuffix(".")).lower().strip()


def _unescape(text: str) -> str:
    return text.replace(r"\n", "\n").replace(r"\p", "|").replace("\\\\", "\\")


def tabfact(prediction: str, references: str | Sequence[str]) -> float:
    """TabFact (arXiv 1909.02164) as TableVQA-Bench reads it (VLMEvalKit ``tablevqabench.py``): the word true for the
    reference "1" (entailed), false for "0" (refuted), anywhere in the answer, case aside. Both words, or "yes", are
    wrong: ask for True or False.

    Raises:
        ValueError: a reference other than "0" and "1".
    """
    labels = set(listed(references))
    if not labels <= {"0", "1"}:
        raise ValueError(f"a reference of TabFact is '1' (entailed) or '0' (refuted), found {sorted(labels)}")
    text = prediction.lower()
    if ("true" in text) == ("false" in text):
        return 0.0
    return float(("1" if "true" in text else "0") in labels)
