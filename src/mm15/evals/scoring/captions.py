"""CIDEr-D of captions, with the Penn Treebank tokens of the COCO caption evaluation, without Java."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_DROPPED = {"''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", *".?!,:;-", "--", "..."}


def ptb_tokens(caption: str) -> list[str]:
    """Tokens of a caption as the COCO caption evaluation sees them: Stanford's PTBTokenizer (CoreNLP 3.4.1) with
    ``-preserveLines -lowerCase``, then without the punctuation that pycocoevalcap's ``ptbtokenizer.py`` drops.
    """
    text = caption.replace("\n", " ").lower()
    return [token for token in re.findall(r"\w+", text) if token not in _DROPPED]


@dataclass(frozen=True, slots=True)
class CiderResult:
    """``score``: the mean of ``per_item`` (10 is the ceiling; published numbers are 100 times this, so 0 to 1000)."""

    score: float
    per_item: tuple[float, ...]


def cider(
    predictions: Sequence[str], references: Sequence[Sequence[str]], tokenise: bool = True, sigma: float = 6.0
) -> CiderResult:
    """CIDEr-D (arXiv 1411.5726) over a data set: one caption and its reference captions per picture.

    TF-IDF of 1- to 4-grams, document frequencies from the references of *these* pictures; counts clipped to the
    reference's; a Gaussian of ``sigma`` on the difference in length; mean over n and over references, times 10. As in
    pycocoevalcap ``cider_scorer.py``. It depends on the whole set: never average it over parts, and one picture alone
    gives 0. ``per_item`` holds the pictures' values, for intervals. ``tokenise=False`` takes texts that are tokens
    joined by spaces.

    Raises:
        ValueError: no picture, not as many predictions as references, or a picture without references.
    """
    if not predictions or len(predictions) != len(references) or not all(references):
        empty = sum(not captions for captions in references)
        raise ValueError(
            f"CIDEr needs one prediction and at least one reference per picture; found {len(predictions)} predictions, "
            f"{len(references)} lists of references, {empty} of them empty"
        )

    def counts(caption: str) -> list[Counter[tuple[str, ...]]]:
        words = ptb_tokens(caption) if tokenise else caption.split()
        return [Counter(zip(*(words[k:] for k in range(n)), strict=False)) for n in (1, 2, 3, 4)]

    wanted = [[counts(caption) for caption in captions] for captions in references]
    documents: Counter[tuple[str, ...]] = Counter()
    for captions in wanted:
        documents.update({gram for grams in captions for one in grams for gram in one})
    log_pictures = math.log(len(predictions))

    def weigh(grams: list[Counter[tuple[str, ...]]]) -> list[dict[tuple[str, ...], float]]:
        return [{gram: n * (log_pictures - math.log(max(1, documents[gram]))) for gram, n in c.items()} for c in grams]

    scores = []
    for prediction, captions in zip(predictions, wanted, strict=True):
        found = counts(prediction)
        weights, length = weigh(found), found[1].total()
        score = 0.0
        for grams in captions:
            penalty = math.exp(-((length - grams[1].total()) ** 2) / (2 * sigma**2))
            for ours, theirs in zip(weights, weigh(grams), strict=True):
                norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
                shared = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in ours.items() if gram in theirs)
                score += penalty * shared / norms / 4 if norms else 0.0
        scores.append(10 * score / len(captions))
    return CiderResult(sum(scores) / len(scores), tuple(scores))


def few_shot_caption(text: str, rule: str = "mm1") -> str:
    """The caption in a continuation of a few-shot prompt, before the model goes on with a picture of its own.

    ``rule="mm1"`` is the first line that says something (arXiv 2403.09611). ``rule="openflamingo"`` cuts at the first
    "Output", the word before its captions, and drops double quotes (``postprocess_captioning_generation`` of its
    ``coco_metric.py``, and ``evaluate.py``). White space around is removed.

    Raises:
        ValueError: another ``rule``.
    """
    if rule == "openflamingo":
        return text.split("Output", 1)[0].replace('"', "").strip()
    if rule != "mm1":
        raise ValueError(f"rule must be 'mm1' or 'openflamingo', found {rule!r}")
    return text.lstrip().split("\n", 1)[0].strip()
