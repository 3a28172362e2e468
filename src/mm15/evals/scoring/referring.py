"""Naming what lies in a region: LVIS-Ref of Ferret."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mm15.evals.scoring.text import listed

RULES = ("ferret_compat", "words")


def lvis_names(name: str, synonyms: Sequence[str] = ()) -> list[str]:
    """The names an answer may use: underscores are spaces, and "bow_(weapon)" among the synonyms is two names.

    As in Ferret's ``eval_lvis.py``, where a bracket in ``name`` itself stays.
    """
    parts = [part.replace(")", "") for synonym in synonyms for part in synonym.split("(")]
    return [text.replace("_", " ").strip() for text in (name, *parts)]


def lvis_ref(prediction: str, references: str | Sequence[str], rule: str = "ferret_compat") -> float:
    """One question of LVIS-Ref (Ferret, arXiv 2310.07704): 1 when a name (``lvis_names``) stands in the answer.

    ``rule="ferret_compat"`` is Ferret's ``eval_lvis.py``: first " not .." and " no .." up to the next comma or full
    stop go (also what merely begins so, " notebook,"), then a case-sensitive substring counts ("car" is in "cart"). An
    answer that repeats the question, "a cat or a dog", is always right. ``rule="words"`` is ours and stricter: whole
    words, case aside, denied clauses only by the words not, no, nor.

    Raises:
        ValueError: another ``rule``.
    """
    names = listed(references)
    if rule == "ferret_compat":
        text = re.sub(r"\s+no[^,.]*[,.]", "", re.sub(r"\s+not[^,.]*[,.]", "", prediction))
        return float(any(name in text for name in names))
    if rule != "words":
        raise ValueError(f"rule must be one of {', '.join(RULES)}, found {rule!r}")
    text = re.sub(r"\b(?:not|no|nor)\b[^,.;]*", "", prediction, flags=re.IGNORECASE)
    return float(any(name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) for name in names))
