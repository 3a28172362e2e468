"""Where we part from a public implementation, on purpose: every accepted difference, with who is right and why.

A difference that no rule here accepts fails the test, and so does a rule that accepts none. ``ours`` and ``theirs`` are
the outputs of ``ours.py`` and ``oracle.py`` for one pair.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from make_captions import ODD

CRASH = "<crash>"


@dataclass(frozen=True)
class Disagreement:
    metric: str
    accepts: Callable[[Any, Any, Any], bool]
    """of the pair, our output, theirs"""
    right: str
    why: str


def _white_space_around(pair: Any, ours: Any, theirs: Any) -> bool:
    left = pair["p"].translate(str.maketrans("", "", string.punctuation))
    return theirs == "" and left != left.strip() and left.strip().upper() == ours


def _two_separators(pair: str, ours: Any, theirs: Any) -> bool:
    plain = re.match(r"\s*[\d.e]+(?:[ ,]{2,}|\s*\t\s*|[ ,])[\d.e]+\s*$", pair.split("\n")[0])
    return theirs is None and ours is not None and plain is not None


def _glued(pair: str, ours: Any, theirs: Any) -> bool:
    return pair == "J." or any(piece not in ODD for piece in pair.split())


DISAGREEMENTS = (
    Disagreement(
        "choice_letter_dot",
        _white_space_around,
        "ours",
        'AI2D in lmms-eval compares an unstripped answer: "B " or "B\\n" is wrong there. White space is no answer.',
    ),
    Disagreement(
        "choice_mantis",
        lambda pair, ours, theirs: theirs == CRASH and ours == "" and any(c in pair["p"] for c in "ßﬁ"),
        "ours",
        'A first letter that becomes two in capitals ("ß") raises TypeError in ord() there. Here it names no option.',
    ),
    Disagreement(
        "binary_counts",
        lambda pair, ours, theirs: theirs == CRASH and ["yes", "yes"] not in pair,
        "ours",
        "Without a right yes, POPE's script divides by zero. Here precision, recall and F1 are then 0.",
    ),
    Disagreement(
        "mathvista",
        lambda pair, ours, theirs: isinstance(pair["precision"], float) and theirs == [None, 0.0],
        "ours",
        "The data set stores precision as 1.0; round(x, 1.0) raises there, and every such answer is wrong.",
    ),
    Disagreement(
        "wtq",
        lambda pair, ours, theirs: theirs == CRASH and bool(re.search("nan|inf", pair["p"] + pair["r"], re.I)),
        "ours",
        'The value "nan" or "inf" stops the published evaluator with an AssertionError. Here it is a string.',
    ),
    Disagreement(
        "two_scores",
        _two_separators,
        "ours",
        'lmms-eval splits at single spaces: "8, 9", "8  9" and a tab are unreadable there. Two numbers are two scores.',
    ),
    Disagreement(
        "mm_vet",
        lambda pair, ours, theirs: theirs == CRASH and ours == 0.0 and not 0 <= float(pair.split()[0]) <= 1,
        "ours",
        "For a score outside 0 to 1, lmms-eval asks the judge again without end. Here it is unreadable (None).",
    ),
    Disagreement(
        "ptb_tokens",
        _glued,
        "theirs",
        'Odd captions with pieces glued together without a space ("isn\'tx@y.org"): the Java lexer has rules that ours '
        "has not. No ordinary caption differs, and no odd one whose pieces stand apart, but for the caption 'J.'.",
    ),
)
