"""Which option an answer names: one strict reading of our own, and the readings of the public harnesses by name."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence

from mm15.evals.scoring.text import listed
from mm15.evals.scoring.vqa import without_punctuation

_LETTER_FORMS = (
    re.compile(r"\s*\(?\s*([A-Za-z])\s*[).:]?\s*\.?\s*$"),  # the whole answer: B, (b), B., B)
    re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Z])[).:,])(?=\s|$)"),  # it begins with the letter: (B) red, B. red
    re.compile(r".*\b(?:answer|option|choice)(?:\s+is)?\s*:?\s*\(?([A-Z])\b(?!')", re.IGNORECASE | re.DOTALL),
)


def choice_letter(text: str) -> str | None:
    """The option letter an answer names, or None. In this order: the whole answer is the letter; it begins with
    "(B)" or "B." and the like; it says "answer (is) B". A sentence that merely begins with "A" names nothing.
    """
    for form in _LETTER_FORMS:
        found = form.match(text)
        if found:
            return next(group for group in found.groups() if group).upper()
    return None


def multiple_choice(
    prediction: str,
    references: str | Sequence[str],
    choices: Sequence[str] | None = None,
    strategy: str | None = None,
    guess: random.Random | None = None,
) -> float:
    """1 when the letter read from the prediction is that of a reference; no letter is wrong.

    Without ``strategy`` the letter is ``choice_letter``'s; with one (and the options' texts as ``choices``) it is
    ``extract_choice``'s. ``guess`` as there.
    """
    wanted = {choice_letter(reference) for reference in listed(references)}
    if strategy is None:
        letter = choice_letter(prediction)
    else:
        letter = extract_choice(prediction, choices or [], strategy, guess)
    return float(letter is not None and letter in wanted)


def extract_choice(
    prediction: str, choices: Sequence[str], strategy: str, guess: random.Random | None = None
) -> str | None:
    """The letter (A for the first of ``choices``) that an answer names, read as a public harness reads it, or None.

    ``choices`` are the texts of the options, without letters. What names no option of this question is None, so wrong;
    with ``guess`` an unreadable answer becomes a drawn letter instead, as MMMU's parser and its kin do: for comparing
    with those harnesses only.

    ====================  =============================================================================================
    ``first_char``        the first character (SEED-Bench; lmms-eval ``tasks/seedbench/utils.py``)
    ``letter_dot``        "B." in front, else the whole answer without punctuation (AI2D; ``tasks/ai2d/utils.py``)
    ``scienceqa``         exactly the letter, or "B." in front (LLaVA; ``tasks/scienceqa/utils.py``)
    ``paren_prefix``      the letter in front, in brackets or not. Any answer that *starts* with such a letter counts,
                          "Because .." is B (BLINK in lmms-eval up to 0.6.1, ``tasks/blink/utils.py``)
    ``blink``             the letter alone, else the last "answer is B", else the last "(B)", else as ``paren_prefix``
                          (BLINK in lmms-eval 0.7.3)
    ``mmmu``              the last "(A)", else "A ", else "A.", else in a long answer the last option's text
                          (MMMU ``eval_utils.py``; lmms-eval ``mmmu_mcq_utils.py``)
    ``priority``          at the start, at the end, after a phrase, in brackets, before a stop ...: the best of these
                          (RealWorldQA; lmms-eval ``mcq_extract.py``)
    ``mantis``            the first letter character after "final answer:" and the like, else an option's text
                          (Mantis-Eval; ``tasks/mantis/utils.py``)
    ``can_infer``         exactly one letter among the words and near the end, else exactly one option's text
                          (VLMEvalKit ``matching_util.py``)
    ``interleave``        "B. text" in front, else the first letter A to E that is a word, case aside, so "a cat" is A
                          (MVBench; ``tasks/mvbench/utils.py``, ``mcq_acc``)
    ====================  =============================================================================================

    Raises:
        ValueError: another ``strategy``, no choice, or more than 26.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, found {strategy!r}")
    if not 1 <= len(choices) <= 26:
        raise ValueError(f"a question has 1 to 26 choices, found {len(choices)}: give the texts of all options")
    letters = string.ascii_uppercase[: len(choices)]
    found = STRATEGIES[strategy](prediction, letters, choices)
    if found is None or len(found) != 1 or found not in letters:
        return guess.choice(letters) if guess else None
    return found


def _first_char(text: str, letters: str, choices: Sequence[str]) -> str | None:
    return text.strip()[:1].upper() or None


def _letter_dot(text: str, letters: str, choices: Sequence[str]) -> str | None:
    front = re.match(r"\s*([A-Z])\.", text)
    if front:
        return front.group(1)
    return text.translate(str.maketrans("", "", string.punctuation)).strip().upper() or None


def _scienceqa(text: str, letters: str, choices: Sequence[str]) -> str | None:
    text = text.strip()
    return text[:1].upper() if len(text) == 1 or re.match(r"[A-Z]\.", text) else None


def _paren_prefix(text: str, letters: str, choices: Sequence[str]) -> str | None:
    front = re.match(r"[(\s]*([A-Z])", text.strip(), re.IGNORECASE)
    return front.group(1).upper() if front else None


def _blink(text: str, letters: str, choices: Sequence[str]) -> str | None:
    text = text.strip()
    line = text.split("\n", 1)[0].strip()
    alone = re.match(rf"\(?([{letters}])\)?[.\s:,)]*$", line, re.IGNORECASE) if len(line) <= 4 else None
    if alone:
        return alone.group(1).upper()
    stated = re.findall(rf"answers?(?:\s+is)?\s*[:\-]?\s*\(?([{letters}])\)?(?![A-Za-z])", text, re.IGNORECASE)
    stated = stated or re.findall(rf"\(([{letters}])\)", text)
    if stated:
        return stated[-1].upper()
    front = re.match(rf"[(\s]*([{letters}])", text, re.IGNORECASE)
    return front.group(1).upper() if front else None


def _mmmu(text: str, letters: str, choices: Sequence[str]) -> str | None:
    for mark in ",.!?;:'":
        text = text.strip(mark)
    text = f" {text} "
    # Places are those of " A " even where "A." was looked for: as published, so that of several "A." the first wins.
    for form, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [letter for letter in letters if form.format(letter) in text]
        if found:
            return max(found, key=lambda letter: text.rfind(place.format(letter)))
    if len(text.split()) <= 5:
        return None
    text = text.lower()
    named = [letter for letter, choice in zip(letters, choices, strict=True) if choice.lower() in text]
    return max(named, key=lambda letter: text.rfind(choices[letters.index(letter)].lower()), default=None)


_PHRASES = [
    *(f"{the}{kind} is" for kind in ("answer", "correct answer", "best answer") for the in ("the ", "")),
    *(f"{the}{kind} is" for kind in ("correct option", "best option") for the in ("the ", "")),
    *(f"{the}{kind} is" for kind in ("choice", "correct choice") for the in ("the ", "")),
    *("i choose", "i select", "i pick", "my answer is", "my choice is"),
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
]


def _priority(text: str, letters: str, choices: Sequence[str]) -> str | None:
    bare = text.strip()
    for mark in ",.!?;:'\"":
        bare = bare.strip(mark)
    padded = f" {bare} "
    bare = padded.strip()
    found: list[tuple[int, int, str]] = []  # worth, place, letter
    for letter in letters:
        for worth, form in ((6, "({})"), (5, "{}."), (4, "{}:"), (3, "{})"), (2, "{} ")):
            place = padded.rfind(form.format(letter))
            if place >= 0:
                found.append((worth, place, letter))
    lowered = padded.lower()
    for phrase in _PHRASES:
        start = lowered.find(phrase)
        for letter in letters if start >= 0 else "":
            place = padded.find(letter, start + len(phrase))
            if place >= 0:
                found.append((7, place, letter))
    for letter in letters:
        if bare.startswith(letter) and not bare[1:2].isalpha():
            found.append((10, 0, letter))
        if bare.endswith(letter) and not bare[-2:-1].isalpha():
            found.append((9, len(padded) - 1, letter))
    found = found or [(0, padded.rfind(letter), letter) for letter in letters if letter in padded]
    return max(found, key=lambda item: item[:2])[2] if found else None


def final_answer(text: str) -> str:
    """What follows "final answer:", else "the answer is", else "answer:" (case aside), else the text (Mantis-Eval)."""
    for mark in ("final answer:", "the answer is", "answer:"):
        place = text.lower().find(mark)
        if place >= 0:
            return text[place + len(mark) :].strip()
    return text


def _mantis(text: str, letters: str, choices: Sequence[str]) -> str | None:
    answer = final_answer(text)
    letter = next((character.upper() for character in answer if character.isalpha()), None)
    if re.match(r"Answer: [A-Z]", answer):
        letter = answer[8]
    if letter is not None and len(letter) == 1 and letter in letters:
        return letter
    same = [letter for letter, choice in zip(letters, choices, strict=True) if choice.strip() == text.strip()]
    return same[0] if same else None


_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)


def _can_infer(text: str, letters: str, choices: Sequence[str]) -> str | None:
    if "Failed to obtain answer via API" not in text:
        if any(refusal in text for refusal in _REFUSALS):
            return None
        words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
        found = [letter for letter in letters if letter in words]
        if len(found) == 1 and words.index(found[0]) > len(words) - 5:
            return found[0]
        if not found and "Z" in words:  # VLMEvalKit's letter for "none of them"
            return None
    lowered = text.lower()
    if len(lowered) > 2 * sum(map(len, choices)):
        return None
    named = [letter for letter, choice in zip(letters, choices, strict=True) if choice.lower() in lowered]
    return named[0] if len(named) == 1 else None


def _interleave(text: str, letters: str, choices: Sequence[str]) -> str | None:
    front = re.match(r"([A-E])\.\s*.+$", text.strip(), re.IGNORECASE)
    if front:
        return front.group(1).upper()
    text = without_punctuation(text.replace("\n", " ").replace("\t", " ").strip(), "vqav2")
    word = re.search(r"\b([A-E])\b", text, re.IGNORECASE)
    return word.group(1).upper() if word else None


STRATEGIES: dict[str, Callable[[str, str, Sequence[str]], str | None]] = {
    "first_char": _first_char,
    "letter_dot": _letter_dot,
    "scienceqa": _scienceqa,
    "paren_prefix": _paren_prefix,
    "blink": _blink,
    "mmmu": _mmmu,
    "priority": _priority,
    "mantis": _mantis,
    "can_infer": _can_infer,
    "interleave": _interleave,
}
