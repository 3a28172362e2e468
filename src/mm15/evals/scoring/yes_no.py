"""Yes-or-no questions: reading the answer, counting, and what follows from the counts (POPE, MME, taps on a screen)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm15.evals.scoring.text import listed
from mm15.evals.scoring.vqa import without_punctuation


def yes_or_no(text: str) -> str | None:
    """ "yes" or "no" when exactly one of the two words occurs, else None: our own reading, for miniature sets.

    ``pope_answer`` and ``mme_answer`` are the published ones.
    """
    words = set(re.findall(r"[a-z]+", text.lower()))
    found = words & {"yes", "no"}
    return found.pop() if len(found) == 1 else None


def yes_no(prediction: str, references: str | Sequence[str]) -> float:
    """1 when ``yes_or_no`` of the prediction is that of a reference; an answer with neither or both is wrong."""
    answer = yes_or_no(prediction)
    return float(answer is not None and answer in {yes_or_no(reference) for reference in listed(references)})


def true_false(prediction: str, references: str | Sequence[str]) -> float:
    """1 when the prediction says what a reference says, "True" or "False" (NLVR2, arXiv 1811.00491, whose labels these
    are): our own reading. Yes counts as true and no as false; an answer with neither or both is wrong.
    """
    said = _truth(prediction)
    return float(said is not None and said in {_truth(reference) for reference in listed(references)})


def _truth(text: str) -> bool | None:
    words = set(re.findall(r"[a-z]+", text.lower()))
    says = {bool(words & {"true", "yes"}), not words & {"false", "no"}}
    return says.pop() if len(says) == 1 else None


POPE_RULES = ("official", "vlmevalkit", "exact")


def pope_answer(text: str, rule: str = "official") -> str | None:
    """How POPE (arXiv 2305.10355) reads an answer: "yes", "no", or None where the rule can read nothing.

    ``"official"`` (AoiDragon/POPE ``evaluate.py``): the text before the first full stop, commas removed, split at
    spaces; "No", "no" or "not" among the words is no, *anything else is yes*, also an empty answer and "NO".
    ``"vlmevalkit"`` (``yorn.py``): punctuation out, exactly one of the words yes and no. ``"exact"`` (lmms-eval
    ``tasks/pope/utils.py``): nothing but the word, case and white space aside, so "Yes." is unreadable.

    Raises:
        ValueError: another ``rule``.
    """
    if rule == "official":
        words = text.split(".")[0].replace(",", "").split(" ")
        return "no" if {"No", "no", "not"} & set(words) else "yes"
    if rule == "exact":
        word = text.lower().strip()
        return word if word in ("yes", "no") else None
    if rule != "vlmevalkit":
        raise ValueError(f"rule must be one of {', '.join(POPE_RULES)}, found {rule!r}")
    found = set(without_punctuation(text.lower(), rule).split()) & {"yes", "no"}
    return found.pop() if len(found) == 1 else None


def pope(prediction: str, references: str | Sequence[str], rule: str = "official") -> float:
    """1 when ``pope_answer`` of the prediction is a reference ("yes" or "no"); unreadable is wrong."""
    answer = pope_answer(prediction, rule)
    return float(answer is not None and answer in {reference.strip().lower() for reference in listed(references)})


@dataclass(frozen=True, slots=True)
class BinaryCounts:
    """How often which answer met which truth. "unread" are answers that are neither; yes is the positive class."""

    yes_right: int = 0
    yes_wrong: int = 0
    no_right: int = 0
    no_wrong: int = 0
    unread_yes: int = 0
    unread_no: int = 0

    @property
    def total(self) -> int:
        return self.yes_right + self.yes_wrong + self.no_right + self.no_wrong + self.unread_yes + self.unread_no


def count_binary(predictions: Iterable[str | None], truths: Iterable[str]) -> BinaryCounts:
    """Counts of answers ("yes", "no", None) against truths ("yes", "no"), pairwise.

    Raises:
        ValueError: another word, or not as many answers as truths.
    """
    cells = dict.fromkeys(((answer, truth) for answer in ("yes", "no", None) for truth in ("yes", "no")), 0)
    for answer, truth in zip(predictions, truths, strict=True):
        if (answer, truth) not in cells:
            raise ValueError(f"answers are 'yes', 'no' or None and truths 'yes' or 'no', found {answer!r}, {truth!r}")
        cells[answer, truth] += 1
    return BinaryCounts(
        cells["yes", "yes"],
        cells["yes", "no"],
        cells["no", "no"],
        cells["no", "yes"],
        cells[None, "yes"],
        cells[None, "no"],
    )


def binary_accuracy(counts: BinaryCounts) -> float:
    """Right answers over all; an unread answer is wrong (POPE; VLMEvalKit ``POPE_rating``). 0 of nothing is 0."""
    return _share(counts.yes_right + counts.no_right, counts.total)


def binary_precision(counts: BinaryCounts) -> float:
    """Of the answers that say yes, how many are right."""
    return _share(counts.yes_right, counts.yes_right + counts.yes_wrong)


def binary_recall(counts: BinaryCounts) -> float:
    """Of the questions whose truth is yes, how many got a yes. An unread answer is no yes, as in VLMEvalKit; lmms-eval
    leaves unread answers out of the divisor, which rewards babble.
    """
    return _share(counts.yes_right, counts.yes_right + counts.no_wrong + counts.unread_yes)


def binary_f1_of(counts: BinaryCounts) -> float:
    """F1 of the class yes: 2PR / (P + R), and 0 where both are 0."""
    missed = counts.yes_wrong + counts.no_wrong + counts.unread_yes
    return _share(2 * counts.yes_right, 2 * counts.yes_right + missed)


def f1_of_shares(right: np.ndarray, wrong: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """F1 from shares of all items: true positives, false positives and false negatives; 0 where all three are 0.

    Elementwise, for draws of items: arrays [R].
    """
    return 2 * right / np.maximum(2 * right + wrong + missed, 1e-300)


def yes_ratio(counts: BinaryCounts) -> float:
    """Share of *answers* that say yes (POPE ``evaluate.py``). lmms-eval reports the share of truths under this name."""
    return _share(counts.yes_right + counts.yes_wrong, counts.total)


def binary_f1(predictions: Sequence[str | None], references: Sequence[str]) -> float:
    """F1 of the class yes over a data set of answers "yes", "no" or None, as taperception (arXiv 2402.04476) and POPE
    report it. A corpus metric: never average it over parts. In taperception mind which label means tappable.
    """
    return binary_f1_of(count_binary(predictions, references))


MME_PERCEPTION = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"),
)
MME_COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


def mme_answer(text: str) -> str | None:
    """How MME (arXiv 2306.13394) is read (Otter's rule; lmms-eval ``tasks/mme/utils.py``): lower case, stripped, full
    stops out; the word, the letter y or n alone, else "yes" or "no" within the first four characters ("know" is no).
    """
    text = text.lower().strip().replace(".", "")
    if text in ("y", "n"):
        return "yes" if text == "y" else "no"
    return next((word for word in ("yes", "no") if word in text[:4]), None)


def mme(prediction: str, references: str | Sequence[str]) -> float:
    """1 when ``mme_answer`` of the prediction is that of a reference; unreadable is wrong."""
    answer = mme_answer(prediction)
    return float(answer is not None and answer in {mme_answer(reference) for reference in listed(references)})


def mme_subtask(scores: Mapping[str, Sequence[float]]) -> float:
    """One sub-task of MME, 0 to 200: 100 x accuracy + 100 x share of pictures with both questions right.

    ``scores`` maps a picture to the scores (0 or 1) of its two questions.

    Raises:
        ValueError: no picture, or one with other than two questions.
    """
    odd = sorted(key for key, pair in scores.items() if len(pair) != 2)
    if odd or not scores:
        raise ValueError(f"MME asks two questions about a picture; not so: {odd or 'no picture at all'}")
    both = sum(sum(pair) == 2 for pair in scores.values())
    return 100 * (sum(sum(pair) for pair in scores.values()) / 2 + both) / len(scores)


def mme_sums(subtasks: Mapping[str, float]) -> tuple[float, float]:
    """Perception (0 to 2000) and cognition (0 to 800): sums of the sub-tasks' 0 to 200.

    Raises:
        ValueError: a sub-task is missing or unknown.
    """
    known = (*MME_PERCEPTION, *MME_COGNITION)
    if set(subtasks) != set(known):
        missing, unknown = sorted(set(known) - set(subtasks)), sorted(set(subtasks) - set(known))
        raise ValueError(f"MME has 14 sub-tasks; missing: {missing}, unknown: {unknown}")
    return sum(subtasks[name] for name in MME_PERCEPTION), sum(subtasks[name] for name in MME_COGNITION)


def mme_normalised(perception: float, cognition: float) -> float:
    """(P + C) / 28: 0 to 100, the form in which MM1.5 (arXiv 2409.20566) averages MME with other benchmarks."""
    return (perception + cognition) / 28


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
