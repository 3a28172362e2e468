"""Scores of texts: equal, contained, nearly equal."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence


def listed(references: str | Sequence[str]) -> list[str]:
    """The references as a list; one string is one reference, not its letters.

    Raises:
        ValueError: no reference.
    """
    found = [references] if isinstance(references, str) else list(references)
    if not found:
        raise ValueError("a score needs at least one reference answer, found none")
    return found


def normalise(text: str) -> str:
    """Case, spacing and one final full stop do not matter in a short answer."""
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


def exact_match(prediction: str, references: str | Sequence[str]) -> float:
    """1 when the prediction equals a reference after ``normalise``."""
    return float(normalise(prediction) in {normalise(reference) for reference in listed(references)})


def contains(prediction: str, references: str | Sequence[str]) -> float:
    """OCRBench (arXiv 2305.07895): 1 when a reference is a substring of the prediction, case and line breaks aside."""
    return ocrbench(prediction, references)


def ocrbench(
    prediction: str, references: str | Sequence[str], handwritten_math: bool = False, fold_full_width: bool = False
) -> float:
    """One item of OCRBench (arXiv 2305.07895): 1 when a reference is a substring of the prediction.

    Both are lower-cased, stripped, and line breaks become spaces. ``handwritten_math`` is the rule of its HME100k
    items: case counts and no space does. ``fold_full_width`` first reads full-width ASCII and the ideographic space as
    plain ASCII (lmms-eval 0.7 does, VLMEvalKit and the paper's script do not; neither folds HME100k).
    Reference code: lmms-eval ``tasks/ocrbench/utils.py``, VLMEvalKit ``OCRBench.evaluate``.
    """

    def clean(text: str) -> str:
        if handwritten_math:
            return text.strip().replace("\n", " ").replace(" ", "")
        return (fold_width(text) if fold_full_width else text).lower().strip().replace("\n", " ")

    text = clean(prediction)
    return float(any(clean(reference) in text for reference in listed(references)))


_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: ord(" ")}


def fold_width(text: str) -> str:
    """Full-width ASCII (U+FF01 to U+FF5E) and the ideographic space as plain ASCII; nothing else changes."""
    return text.translate(_FULL_WIDTH)


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions that turn ``a`` into ``b``.

    Bit-parallel in Python's long integers (Myers 1999, in the form of Hyyrö 2003), so that whole pages stay affordable:
    bit i of ``rises`` / ``falls`` says that the table grows / shrinks by one between rows i and i + 1 of this column.
    """
    if not a:
        return len(b)
    places: dict[str, int] = {}
    for index, character in enumerate(a):
        places[character] = places.get(character, 0) | 1 << index
    mask = (1 << len(a)) - 1
    last = 1 << (len(a) - 1)
    rises, falls, distance = mask, 0, len(a)
    for character in b:
        equal = places.get(character, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        grows = falls | (~(diagonal | rises) & mask)
        shrinks = rises & diagonal
        distance += bool(grows & last) - bool(shrinks & last)
        grows = (grows << 1 | 1) & mask
        falls_now = grows & diagonal
        rises = (shrinks << 1 | ~(diagonal | grows)) & mask
        falls = falls_now
    return distance


def char_accuracy(prediction: str, references: str | Sequence[str]) -> float:
    """1 - edit distance / length of the longer text, after joining runs of white space; case counts."""
    text = " ".join(prediction.split())
    scores = []
    for reference in listed(references):
        wanted = " ".join(reference.split())
        longest = max(len(text), len(wanted))
        scores.append(1 - edit_distance(text, wanted) / longest if longest else 1.0)
    return max(scores)


def anls(prediction: str, references: str | Sequence[str], boundary: str = "keep") -> float:
    """Average normalised Levenshtein similarity of one question (DocVQA; Biten et al., arXiv 1907.00490).

    Both sides are lower-cased with single spaces; the distance is divided by the longer *raw* length, upper-cased (ß
    counts two), as the public harnesses do. Below one half the score is 0. At exactly one half ``boundary="keep"``
    keeps it (lmms-eval ``api/metrics.py``, VLMEvalKit ``vqa_eval.py``) and ``boundary="strict"`` gives 0 (the original
    definition).

    Raises:
        ValueError: another ``boundary``.
    """
    if boundary not in ("keep", "strict"):
        raise ValueError(f"boundary must be 'keep' or 'strict', found {boundary!r}")
    text = " ".join(prediction.strip().lower().split())
    distances = []
    for reference in listed(references):
        wanted = " ".join(reference.strip().lower().split())
        longest = max(len(reference.upper()), len(prediction.upper()))
        distances.append(edit_distance(text, wanted) / longest if longest else 0.0)
    similarity = 1 - min(distances)
    return similarity if similarity > 0.5 or (similarity == 0.5 and boundary == "keep") else 0.0


_PUNCTUATION = str.maketrans("", "", string.punctuation)


def token_f1(prediction: str, references: str | Sequence[str]) -> float:
    """Token-level F1 of SQuAD (arXiv 1606.05250, ``evaluate-v1.1.py``), the best over the references.

    Lower case, ASCII punctuation and the words a, an, the removed, split at white space; F1 of the two bags of tokens.
    Two answers without any token are equal (as in SQuAD 2.0); one such is a miss.
    """

    def tokens(text: str) -> list[str]:
        return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split()

    found = tokens(prediction)
    scores = []
    for reference in listed(references):
        wanted = tokens(reference)
        shared = sum((Counter(found) & Counter(wanted)).values())
        if not found or not wanted:
            scores.append(float(found == wanted))
        else:
            scores.append(2 * shared / (len(found) + len(wanted)))
    return max(scores)
