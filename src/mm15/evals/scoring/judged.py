"""What a judging model wrote, read into numbers. Nothing here asks a judge, and nothing is evaluated as code.

A reply that cannot be read is None: the caller asks again or counts it, and says how many there were.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


def two_scores(review: str) -> tuple[float, float] | None:
    """The two scores on the first line of a review: reference first, then the model (LLaVA-Bench, arXiv 2304.08485;
    Ferret-Bench, arXiv 2310.07704). Exactly two numbers parted by a space or a comma, as lmms-eval
    ``tasks/llava-in-the-wild/utils.py`` and ``tasks/ferret/utils.py`` read them; "8, 9" (comma and space) and a tab are
    unreadable there and read here.
    """
    parts = review.split("\n")[0].replace(",", " ").split()
    if len(parts) != 2:
        return None
    first, second = _number(parts[0]), _number(parts[1])
    return (first, second) if first is not None and second is not None and min(first, second) >= 0 else None


def ratio_of_means(pairs: Sequence[tuple[float, float]]) -> float:
    """The result of LLaVA-Bench and Ferret-Bench: the mean of the model's scores over the mean of the reference's, from
    pairs (reference, model). 1 is as good as the reference; published numbers are 100 times this.

    Raises:
        ValueError: no pair, or only zeros for the reference.
    """
    reference = sum(pair[0] for pair in pairs)
    if not reference:
        raise ValueError("the ratio needs at least one review with a reference score above zero")
    return sum(pair[1] for pair in pairs) / reference


def ferret_bench_answer(answer: str, category: str) -> str:
    """An answer as the judge of Ferret-Bench sees it (``eval_gpt_review_3newclass.py``): boxes from 0 to 1000 become
    ``[0.100, 0.200, 0.500, 0.600]`` in ``ground_conv`` and go, with the space before them, in the two refer categories.

    A bracket that is no box of four numbers goes in ``ground_conv`` too; the published code stops there.
    """
    if category != "ground_conv":
        return re.sub(r" ?\[.*?\]", "", answer)

    def scaled(match: re.Match[str]) -> str:
        numbers = [_number(text) for text in match[1].split(",")]
        known = [number / 1000 for number in numbers if number is not None]
        return f"[{', '.join(f'{number:.3f}' for number in known)}]" if len(known) == len(numbers) == 4 else ""

    return re.sub(r"\[(.*?)\]", scaled, answer)


def mm_vet_score(reply: str) -> float | None:
    """MM-Vet (arXiv 2308.02490): the first word of the reply as a number from 0.0 to 1.0."""
    score = _number(reply.strip().split(" ")[0].strip())
    return score if score is not None and 0 <= score <= 1 else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``answer``: "yes", "no", or None where the judge said neither; ``score``: a whole number, 0 to 5."""

    answer: str | None
    score: int


def qa_verdict(reply: str) -> Verdict | None:
    """The verdict on a free answer about a video: {'pred': 'yes', 'score': 4}, as a Python or a JSON object, the first
    in braces (Video-ChatGPT, arXiv 2306.05424; ActivityNet-QA in lmms-eval ``tasks/activitynetqa/utils.py``;
    LLaVA-Hound, arXiv 2404.01258). A broken score, 4.8, is cut to 4, as published.
    """
    found = re.search(r"\{([^{}]*)", reply)
    fields = _fields("{" + found.group(1) + "}") if found else None
    score = _whole(fields.get("score")) if fields else None
    word = fields.get("pred") if fields else None
    if score is None or not isinstance(word, str):
        return None
    return Verdict(next((answer for answer in ("yes", "no") if answer in word.lower()), None), score)


def judged_accuracy(verdicts: Sequence[Verdict]) -> float:
    """Yes over yes and no. Verdicts that are neither do not count; none that does gives 0."""
    answers = [verdict.answer for verdict in verdicts if verdict.answer]
    return answers.count("yes") / len(answers) if answers else 0.0


def vcg_score(reply: str) -> int | None:
    """One aspect of the VCGBench of Video-ChatGPT: {'score': 4}, 0 to 5; report every aspect's mean and their mean.

    lmms-eval ``tasks/videochatgpt/utils.py`` counts an unreadable reply as 0; here it is None.
    """
    fields = _fields(reply.strip())
    return _whole(fields.get("score", 0)) if fields is not None else None


def hound_score(reply: str) -> float | None:
    """The score of LLaVA-Hound's judge (arXiv 2404.01258, ``test/inference/utils.py``), 1 to 5: the number after
    "Score: ", else the most frequent number in the reply, the mean of several equally frequent ones.

    A reply without a number is 1 there and None here; both count as wrong.
    """
    stated = re.search(r"Score: (\d+\.?\d*)", reply)
    if stated:
        return float(stated.group(1))
    numbers = Counter(float(number) for number in re.findall(r"\b\d+\.?\d*\b", reply))
    if not numbers:
        return None
    most = max(numbers.values())
    frequent = [number for number, count in numbers.items() if count == most]
    return sum(frequent) / len(frequent)


def _fields(text: str) -> dict | None:
    for read in (ast.literal_eval, json.loads):
        try:
            value = read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
