"""Free answers that are numbers, words or formulas: ChartQA, MMMU, MathVista, VL-ICL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mm15.evals.scoring.choice import final_answer
from mm15.evals.scoring.text import edit_distance, listed


def relaxed_accuracy(prediction: str, references: str | Sequence[str], tolerance: float = 0.05) -> float:
    """Relaxed accuracy of ChartQA (arXiv 2203.10244, after PlotQA), as in pix2struct ``metrics.py`` and lmms-eval
    ``tasks/chartqa/utils.py``.

    Numbers may be off by ``tolerance`` of the reference; anything else must be equal, case aside. A final ``%``
    divides by 100. Kept quirks: a reference of zero is compared as text, "1,000" is no number, and years are numbers.
    """
    return float(any(_relaxed(prediction, reference, tolerance) for reference in listed(references)))


def _relaxed(prediction: str, reference: str, tolerance: float) -> bool:
    found, wanted = _number(prediction), _number(reference)
    if found is not None and wanted:
        return abs(found - wanted) / abs(wanted) <= tolerance
    return prediction.lower() == reference.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)


def mmmu_open(prediction: str, references: str | Sequence[str]) -> float:
    """An open question of MMMU (arXiv 2311.16502): ``parse_open_response`` and ``eval_open`` of its ``eval_utils.py``.

    Candidates are what follows the last "is ", "so ", "answer " .. of each line (and "=" in the last one), and every
    number in there. Right when a number equals a reference, rounded to two places, or a reference stands in a text.
    Kept quirk: the answer is lower-cased before it is split at ". " and a capital, so lines are all it is split at.
    """
    wanted = [value for reference in listed(references) for value in _mmmu_values(reference)]
    for candidate in _mmmu_candidates(prediction):
        for found in _mmmu_values(candidate):
            if isinstance(found, str):
                if any(isinstance(value, str) and value in found for value in wanted):
                    return 1.0
            elif found in wanted:
                return 1.0
    return 0.0


def _mmmu_candidates(text: str) -> list[str]:
    text = text.strip().strip(".").lower()
    lines = text.split("\n")
    keys = []
    for index, line in enumerate(lines):
        marks = (*_KEYS, "=") if index == len(lines) - 1 else _KEYS
        tails = [line.split(mark)[-1].strip() for mark in marks if mark in line]
        # As published: an empty tail is replaced by any later one, a filled one only by a shorter.
        best = ""
        for tail in tails:
            if not best or len(tail) < len(best):
                best = tail
        if best and best not in (":", ",", ".", "!", "?", ";", "'"):
            keys.append(best)
    keys = keys or [text]
    return keys + [number for key in keys for pattern in _NUMBERS for number in re.findall(pattern, key)]


def _mmmu_values(text: str) -> list[str | float]:
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


@dataclass(frozen=True, slots=True)
class Extracted:
    """``text``: the short answer; ``direct``: it stood there as such (False: a rule of ours had to find it)."""

    text: str
    direct: bool


def mathvista_extract(response: str, question_type: str, answer_type: str, choices: Sequence[str] = ()) -> Extracted:
    """The short answer in a response to MathVista (arXiv 2310.02255) without asking another model.

    Direct, as in the task's ``extract_answer`` (lmms-eval ``mathvista_evals.py``): an option's text, a whole or a
    broken number by itself, or 'The answer is "..".'. Otherwise, where the published evaluation asks GPT-4, rules of
    ours: an option's letter or text; the last number after "answer", else the last at all; the last list in brackets.
    Scores of such answers are no longer comparable with published ones: report how many there were.
    """
    response = response.strip()
    if not response or (question_type == "multi_choice" and response in choices):
        return Extracted(response, True)
    if answer_type in ("integer", "float"):
        try:
            return Extracted(str(int(response) if answer_type == "integer" else float(response)), True)
        except ValueError:
            pass
    quoted = re.search(r'The answer is "(.*)"\.', response)
    if quoted:
        return Extracted(quoted.group(1), True)
    return Extracted(_mathvista_find(response, question_type, answer_type, choices), False)


def _mathvista_find(response: str, question_type: str, answer_type: str, choices: Sequence[str]) -> str:
    answer = final_answer(response).strip().rstrip(".")
    if question_type == "multi_choice":
        letter = re.findall(r"\(([A-Za-z])\)", answer) or re.findall(r"^([A-Z])(?:[.):,\s]|$)", answer)
        named = [choice for choice in choices if choice and choice.lower() in answer.lower()]
        return letter[0].upper() if letter else max(named, key=len, default=answer)
    if answer_type in ("integer", "float"):
        pattern = r"-?(?:\d+(?:\.\d+)?|\.\d+)"
        numbers = re.findall(pattern, re.sub(r"(?<=\d),(?=\d{3})", "", answer))
        return numbers[-1] if numbers else answer
    lists = re.findall(r"\[[^\[\]]*\]", response)
    return lists[-1] if answer_type == "list" and lists else answer


def mathvista_normalise(
    extraction: str, question_type: str, answer_type: str, choices: Sequence[str] = (), precision: float | None = None
) -> str | None:
    """The extraction in the form of the reference (``normalize_extracted_answer`` of MathVista): an option's text by
    letter or by the smallest edit distance, a whole number, a number rounded to ``precision`` places; None: it is none.

    ``precision`` may be 1.0, as the data set stores it; the published code hands that to ``round``, which refuses it.

    Raises:
        ValueError: multiple choice without choices.
    """
    if question_type == "multi_choice":
        if not choices:
            raise ValueError("a multiple-choice question of MathVista needs the texts of its choices")
        text = extraction.strip()
        letters = re.findall(r"\(([a-zA-Z])\)", text)
        text = letters[0].upper() if letters else text
        index = ord(text) - ord("A") if len(text) == 1 else -1
        if 0 <= index < len(choices):
            return choices[index]
        return min(choices, key=lambda choice: edit_distance(text, choice))
    try:
        if answer_type == "integer":
            return str(int(float(extraction)))
        if answer_type == "float":
            return str(round(float(extraction), int(precision or 0)))
    except (ValueError, OverflowError):
        return None
    return extraction


def mathvista(
    prediction: str,
    references: str | Sequence[str],
    question_type: str,
    answer_type: str,
    choices: Sequence[str] = (),
    precision: float | None = None,
) -> float:
    """One question of MathVista: ``mathvista_extract``, ``mathvista_normalise``, then equal as text."""
    found = mathvista_extract(prediction, question_type, answer_type, choices)
    answer = mathvista_normalise(found.text, question_type, answer_type, choices, precision)
    return float(str(answer).strip() in {reference.strip() for reference in listed(references)})


VL_ICL_TASKS = (
    *("open_mi", "operator_induction", "operator_induction_interleaved", "textocr", "clevr", "matching_mi"),
)


def vl_icl_answer(text: str, task: str) -> str:
    """The answer in a continuation, as VL-ICL Bench (arXiv 2403.13164, ``evals/eval.py``) cuts it: at the first line
    break, else at the first full stop; in the operator tasks the first run of digits (so "-2" is 2: a quirk kept).

    Raises:
        ValueError: another ``task``.
    """
    if task not in VL_ICL_TASKS:
        raise ValueError(f"task must be one of {', '.join(VL_ICL_TASKS)}, found {task!r}")
    text = text.strip()
    cut = text.find("\n")
    cut = cut if cut > 0 else text.find(".")
    text = text[:cut] if cut > 0 else text
    if task.startswith("operator_induction"):
        digits = re.search(r"\d+", text)
        return digits.group() if digits else ""
    return text


def vl_icl(prediction: str, references: str | Sequence[str], task: str) -> float:
    """One question of VL-ICL Bench: ``vl_icl_answer`` equals a reference, case aside. In matching_mi the reference is
    yes or no, and the answer is yes when it contains "yes", else no.
    """
    answer = vl_icl_answer(prediction, task).lower()
    wanted = {reference.lower() for reference in listed(references)}
    if task == "matching_mi":
        return float(("yes" if "yes" in answer else "no") in wanted)
    return float(answer in wanted)
